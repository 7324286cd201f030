-- SPDX-License-Identifier: Apache-2.0
-- Devices of which one probe is too hot: muster ls '@overheating(65)'. Kind and value belong to one and the same probe.
return {
  doc = "A temperature probe above a limit.",
  params = { { "limit", type = "number", default = 70, doc = "in the unit of the probes" } },
  filter = [[ any(sensors, kind == "temperature" and value > :limit) ]],
}
