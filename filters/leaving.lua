-- SPDX-License-Identifier: Apache-2.0
-- Whose lease ends soon unless it is renewed: muster ls '@leaving(1m)'. Leases without an end are not among them.
return {
  doc = "Lease ends within a time.",
  params = { { "within", type = "number", default = 30, doc = "seconds; 1m is a number, too" } },
  filter = [[ @ttl <= :within ]],
}
