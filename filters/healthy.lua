-- SPDX-License-Identifier: Apache-2.0
-- Instances that may get traffic: they say that they are well, and nobody is draining them.
return {
  doc = "Well, and not draining.",
  filter = [[ health in ["passing", "healthy", "up"] and not draining ]],
}
