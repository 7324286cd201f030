-- SPDX-License-Identifier: Apache-2.0
-- Who may be interrupted now: muster multicast '@reachable()' "lunch is ready". `dnd` is a boolean; without it one may.
return {
  doc = "Present, and not to be left alone.",
  filter = [[ @online() and status != "busy" and not dnd ]],
}
