"""A library of the name of NVIDIA's, for machines without any GPU of theirs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef void *device;
static int card;
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "Error"; }
int nvmlSystemGetDriverVersion(char *to, unsigned n) { strcpy(to, "535.1"); return 0; }
int nvmlSystemGetCudaDriverVersion(int *to) { *to = 12020; return 0; }
int nvmlDeviceGetCount_v2(unsigned *to) { *to = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, device *to) {
    if (i == 1) return 15;
    *to = &card;
    return 0;
}
int nvmlDeviceGetUUID(device d, char *to, unsigned n) {
    strcpy(to, "GPU-11111111");
    return 0;
}
int nvmlDeviceGetName(device d, char *to, unsigned n) {
    strcpy(to, "Fake A100");
    return 0;
}
int nvmlDeviceGetMemoryInfo(device d, unsigned long long *to) {
    to[0] = 40ull << 30;
    to[1] = to[0];
    to[2] = 0;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) {
    *major = 8;
    *minor = 0;
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device *to) {
    *to = &card;
    return 0;
}
struct held { unsigned pid; unsigned long long bytes; unsigned instances[2]; };
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *n, struct held *to) {
    if (to == 0) { *n = 1; return 7; } /* too small */
    FILE *file = fopen(getenv("DTF_TEST_GPU_MEMORY"), "r");
    for (*n = 0; file && fscanf(file, "%u %llu", &to[*n].pid, &to[*n].bytes) == 2;)
        ++*n;
    if (file) {
        char read[4096];
        fclose(file);
        snprintf(read, sizeof read, "%s.read", getenv("DTF_TEST_GPU_MEMORY"));
        fclose(fopen(read, "w"));
    }
    return 0;
}
int nvmlDeviceGetTemperature(device d, unsigned sensor, unsigned *to) {
    *to = 51;
    return 0;
}
"""


def with_driver(folder: Path) -> dict[str, str]:
    """Build it; the environment in which programs find it.

    It knows two devices: one answers as an A100 does, the other is lost. Of throttling
    and MIG it knows nothing, as an old driver. Processes have the memory that lines of
    ``DTF_TEST_GPU_MEMORY`` say: process id and bytes; ``.read`` is there afterwards.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build a driver's library with")
    (folder / "nvml.c").write_text(LIBRARY)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", str(library), "nvml.c"],
        cwd=folder,
        check=True,
    )
    return {
        "LD_LIBRARY_PATH": str(folder),
        "DTF_TEST_GPU_MEMORY": str(folder / "gpu-memory"),
    }
