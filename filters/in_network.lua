-- SPDX-License-Identifier: Apache-2.0
-- By address: muster ls '@in_network("10.20.0.0/16")'. `ip` is a text; IPv4 and IPv6.
return {
  doc = "Address inside a network.",
  params = { { "network", type = "network", doc = "as in 10.20.0.0/16" } },
  filter = [[ ip in :network ]],
}
