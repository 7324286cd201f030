-- The filter language alone: canonical form, JSON form, warnings, errors with their place.
local filter = require "muster.filter"

local compiled = assert(filter.compile 'fw < semver"1.3" && region in ["eu", "us"] and env != "prod"')
print(compiled.text)
print(compiled.json)
for _, warning in ipairs(compiled.warnings) do print("warning: " .. warning) end

local wrong = 'region == "eu" and load =< 5'
local _, message, code, detail = filter.compile(wrong)
print(code, message)
print(filter.format_error(wrong, detail))
