-- SPDX-License-Identifier: Apache-2.0
-- Who can be spoken to. A lease says that the connection is there; `status` says what its user wants others to believe.
return {
  doc = "Present, and not hiding it.",
  filter = [[ status in ["online", "away", "busy"] ]],
}
