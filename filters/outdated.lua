-- SPDX-License-Identifier: Apache-2.0
-- The targets of a firmware update: muster multicast '@outdated("2.4.0")' @update.json --dry-run. Versions are compared
-- as versions ("2.10" is newer than "2.9"); what has no readable version is not among them.
return {
  doc = "Firmware older than a version.",
  params = { { "version", type = "version", doc = "the first version that is new enough" } },
  filter = [[ semver(fw) < :version ]],
}
