-- SPDX-License-Identifier: Apache-2.0
-- Agents that know all of several things: muster ls '@can(["translate", "sql"])'. `skills` is a list.
return {
  doc = "Has all of several skills.",
  params = { { "skills", type = "list", doc = "all of them are needed" } },
  filter = [[ skills contains all :skills ]],
}
