-- SPDX-License-Identifier: Apache-2.0
-- The callee nearby: muster ls '@service("billing") and @in_zone(["eu-1a", "eu-1b"])'.
return {
  doc = "In one of several zones.",
  params = { { "zones", type = "list", doc = "their names" } },
  filter = [[ zone in :zones ]],
}
