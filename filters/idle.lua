-- SPDX-License-Identifier: Apache-2.0
-- Users who have not touched anything for a while: muster count '@idle(30m)'.
return {
  doc = "Present, without activity for a time.",
  params = { { "time", type = "number", default = 300, doc = "seconds; 30m is a number, too" } },
  filter = [[ @online() and time(last_active) < now() - :time ]],
}
