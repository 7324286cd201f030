-- SPDX-License-Identifier: Apache-2.0
-- With every one of these tags: muster ls '@tagged(["canary", "ssd"])'. `tags` is a list.
return {
  doc = "Has all of several tags.",
  params = { { "tags", type = "list", doc = "all of them are needed" } },
  filter = [[ tags contains all :tags ]],
}
