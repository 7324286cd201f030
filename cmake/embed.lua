-- Writes one C file with the bytecode of Lua modules: luajit embed.lua OUTPUT NAME=FILE ...
local output = assert(io.open(arg[1], "wb"))
output:write('#include "script/embedded.h"\n\n')
local entries = {}
for i = 2, #arg do
  local name, file = arg[i]:match("^([^=]+)=(.+)$")
  local source = assert(io.open(file, "rb"))
  local text = source:read("*a"):gsub("^#![^\n]*", "")
  source:close()
  local code = string.dump(assert(loadstring(text, "=" .. name)), false)
  local bytes = {}
  for at = 1, #code do
    bytes[at] = code:byte(at) .. (at % 32 == 0 and ",\n" or ",")
  end
  output:write(("static const unsigned char module_%d[] = {\n%s};\n\n"):format(i - 1, table.concat(bytes)))
  entries[#entries + 1] = ("    { \"%s\", module_%d, sizeof module_%d },\n"):format(name, i - 1, i - 1)
end
output:write("const struct mst_embedded mst_embedded_modules[] = {\n", table.concat(entries), "    { 0, 0, 0 },\n};\n")
output:close()
