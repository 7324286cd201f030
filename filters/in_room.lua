-- SPDX-License-Identifier: Apache-2.0
-- The members of a room: muster multicast '@in_room("eng") and @reachable()' "stand-up". `room` is one name or a list.
return {
  doc = "In a room.",
  params = { { "room", type = "string", doc = "its name" } },
  filter = [[ room == :room ]],
}
