-- SPDX-License-Identifier: Apache-2.0
-- Workers of which one accelerator has that much memory free: muster ls '@with_gpu(40) and @has_capacity()'.
return {
  doc = "An accelerator with memory to spare.",
  params = { { "gigabytes", type = "number", default = 16, doc = "of free memory, on one of them" } },
  filter = [[ any(gpus, free_gb >= :gigabytes) ]],
}
