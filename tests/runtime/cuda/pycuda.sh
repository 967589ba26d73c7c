#!/usr/bin/env bash
# pycuda.sh PYTHON FOLDER: builds pycuda into its own folder, for the tests of the GPU code.
#
# pycuda is published as source only. Building needs CUDA's compiler and headers, but no GPU. It is linked with an empty library
# in place of libcuda, because the tests load their own. curand is left out; optimisation is off, as it takes most of the time.
set -euo pipefail
python=$(realpath --no-symlinks "$1")
folder=$(realpath "$2")
cuda=$(realpath "$(nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')")  # nvcc itself may be a link, or a script
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip() { "$python" -m pip --quiet --disable-pip-version-check "$@"; }

pip download --no-deps --no-build-isolation --no-binary pycuda --constraint constraints.txt --dest "$work" pycuda
mkdir "$work/source" "$work/driver"
tar --extract --file "$work"/pycuda-*.tar.gz --directory "$work/source" --strip-components 1
echo "int cuInit(unsigned flags) { return (int)flags; }" | cc -shared -fPIC -x c -Wl,-soname,libcuda.so.1 -o "$work/driver/libcuda.so" -
cat > "$work/source/siteconf.py" <<END
CUDA_ROOT = "$cuda"
CUDA_INC_DIR = ["$cuda/include"]
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = ["$work/driver"]
CUDART_LIB_DIR = ["$cuda/lib64", "$cuda/lib"]
CXXFLAGS = ["-O0", "-w"]
END
pip install --no-build-isolation --constraint constraints.txt --target "$folder" "$work/source"
