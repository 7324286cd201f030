-- SPDX-License-Identifier: Apache-2.0
-- Whom to give a task: muster ls '@agent_for(["translate"], 0.7)' --sort current_tasks --limit 1.
return {
  doc = "Online agents with the skills, room for a task, and a good enough record.",
  params = {
    { "skills", type = "list", doc = "all of them are needed" },
    { "success", type = "number", default = 0, doc = "least share of tasks done well, 0 to 1; none counts as 0" },
  },
  filter = [[
    @online() and @can(:skills) and @has_capacity()
      and (success_rate >= :success or (success_rate is missing and 0 >= :success))
  ]],
}
