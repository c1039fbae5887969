#!/usr/bin/env bash
# Regenerates src/generated/java from CUDA's headers. Needs jextract (https://jdk.java.net/jextract/), of libclang 14 or so:
# with 18 and 19 anonymous structs come out broken.
#
#   CUDA=/usr/local/cuda JEXTRACT=jextract ./regenerate.sh
#   ./regenerate.sh --lookup-only     leaves what was generated, and only sets the lookups
set -euo pipefail
cd "$(dirname "$0")"
cuda=${CUDA:-/usr/local/cuda}
out=../src/generated/java

generate() { # package, class, header; filters are those of the package
    [ "${mode:-}" = --lookup-only ] ||
        "${JEXTRACT:-jextract}" -I "$cuda/include" --output "$out" -t "io.qlora.cuda.jextract.$1" \
            --header-class-name "$2" "@filters/$1.args" "$3"
    sed -i -e "$(sed "s/LIBRARY;/$4;/" lookup.sed)" "$out/io/qlora/cuda/jextract/$1/$2.java"
    grep -q "SYMBOL_LOOKUP = io.qlora.cuda.driver.NativeLibrary.$4;" "$out/io/qlora/cuda/jextract/$1/$2.java" ||
        { echo "$2.java: no SYMBOL_LOOKUP was found to replace: jextract's output has changed, see lookup.sed" >&2; exit 1; }
}

mode=${1:-}
generate driver LibCuda "$cuda/include/cuda.h" CUDA
generate nvrtc LibNvrtc "$cuda/include/nvrtc.h" NVRTC
generate cublas LibCublasLt filters/cublas_wrap.h CUBLAS_LT
