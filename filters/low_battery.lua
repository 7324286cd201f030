-- SPDX-License-Identifier: Apache-2.0
-- Devices to be charged or visited soon: muster ls '@low_battery(15) and site == "hq"'. Devices on mains power, which
-- have no `battery`, are not among them.
return {
  doc = "Battery at or below a level.",
  params = { { "percent", type = "number", default = 20, doc = "per cent of a full battery" } },
  filter = [[ battery <= :percent ]],
}
