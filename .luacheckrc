std = "luajit"
max_line_length = 120
files["spec/lua"] = { std = "luajit+busted" }
-- Filters, policies and examples are written against what the host gives them.
files["filters"] = { std = "luajit" }
files["examples"] = { std = "luajit" }
files["rockspec"] = { std = "rockspec" }
