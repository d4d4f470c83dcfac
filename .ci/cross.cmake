# Toolchain file: builds for another architecture with Debian's cross compiler against a folder made by .ci/sysroot.sh, and
# runs what it built under qemu-user. Wanted from the command line:
#   NIBBLE_CROSS    arm64 or armhf
#   NIBBLE_SYSROOT  the folder's tree
#   NIBBLE_QEMU_CPU the CPU to emulate (default: all that qemu knows)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NIBBLE_CROSS NIBBLE_SYSROOT)
set(CMAKE_SYSTEM_NAME Linux)
if(NIBBLE_CROSS STREQUAL "arm64")
    set(CMAKE_SYSTEM_PROCESSOR aarch64)
    set(triple aarch64-linux-gnu)
    set(qemu qemu-aarch64)
elseif(NIBBLE_CROSS STREQUAL "armhf")
    set(CMAKE_SYSTEM_PROCESSOR armv7l)
    set(triple arm-linux-gnueabihf)
    set(qemu qemu-arm)
else()
    message(FATAL_ERROR "NIBBLE_CROSS must be arm64 or armhf, not '${NIBBLE_CROSS}'")
endif()

if(NOT CMAKE_C_COMPILER)
    set(CMAKE_C_COMPILER ${triple}-gcc)
endif()
set(CMAKE_C_COMPILER_TARGET ${triple}) # for clang
set(CMAKE_LIBRARY_ARCHITECTURE ${triple})
set(CMAKE_SYSROOT ${NIBBLE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${NIBBLE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${NIBBLE_SYSROOT}/usr/lib/${triple}/pkgconfig:${NIBBLE_SYSROOT}/usr/share/pkgconfig)

# libzip and libzstd need libraries that only the dynamic loader must find.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${NIBBLE_SYSROOT}/usr/lib/${triple}")
if(NOT NIBBLE_QEMU_CPU)
    set(NIBBLE_QEMU_CPU max)
endif()
set(CMAKE_CROSSCOMPILING_EMULATOR ${qemu} -cpu ${NIBBLE_QEMU_CPU} -L ${NIBBLE_SYSROOT})
