-- SPDX-License-Identifier: Apache-2.0
-- Workers that may be given more to do.
return {
  doc = "Fewer tasks than it may have, and not paused.",
  filter = [[ current_tasks < max_tasks and not paused ]],
}
