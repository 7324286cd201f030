-- SPDX-License-Identifier: Apache-2.0
-- Instances of a service that can be called: muster ls '@service("billing", "2.1")'.
return {
  doc = "Healthy instances of a service, of a version or newer.",
  params = {
    { "name", type = "string", doc = "of the service" },
    { "version", type = "version", default = "0", doc = "the oldest that will do; what has none counts as 0" },
  },
  filter = [[
    service == :name and @healthy()
      and (semver(version) >= :version or (version is missing and semver"0" == :version))
  ]],
}
