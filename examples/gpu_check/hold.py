#!/usr/bin/env python3
"""Holds a GPU's memory but for so many MiB, as another program would, until it is ended. Needs NVIDIA's driver only.

    python3 examples/gpu_check/hold.py 800 &
    cargo run --release --example gpu_check --features cuda -- --checks curves --curve-batch 4096 --steps 8
"""
import ctypes
import sys
import time

leave = int(sys.argv[1]) << 20
cuda = ctypes.CDLL("libcuda.so.1")


def call(name, *arguments):
    error = getattr(cuda, name)(*arguments)
    if error:
        sys.exit(f"{name}: CUDA error {error}")


context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
call("cuCtxSetCurrent", context)
call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
block = ctypes.c_uint64()
call("cuMemAlloc_v2", ctypes.byref(block), ctypes.c_size_t(free.value - leave))
call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
print(f"{free.value >> 20} MiB of {total.value >> 20} MiB left", flush=True)
while True:
    time.sleep(60)
