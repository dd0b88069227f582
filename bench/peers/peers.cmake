# The contenders: each is a file in this folder that defines peer_NAME. One whose library is not found is left out, and
# weir-bench says so too.
set(bench_peers "")   # PEER(name) of each that is there
set(bench_missing "") # MISSING(name, "why") of each that is not

# bench_peer(NAME SOURCE WHY_NOT LIBRARY...): left out if there is a reason WHY_NOT.
macro(bench_peer name source why_not)
  if("${why_not}" STREQUAL "")
    target_sources(weir-bench PRIVATE peers/${source})
    target_link_libraries(weir-bench PRIVATE ${ARGN})
    string(APPEND bench_peers " PEER(${name})")
  else()
    message(STATUS "weir-bench is built without ${name}: ${why_not}")
    string(APPEND bench_missing " MISSING(${name}, \"${why_not}\")")
  endif()
endmacro()

# Their headers are the system's to the compiler: their warnings are not ours.
set(no_libuv "")
set(no_libevent "")
set(no_asio "")
if(WIN32)
  foreach(name IN ITEMS libuv libevent asio)
    set(no_${name} "not built for Windows")
  endforeach()
else()
  find_package(PkgConfig QUIET)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(BENCH_LIBUV QUIET IMPORTED_TARGET libuv)
    pkg_check_modules(BENCH_LIBEVENT QUIET IMPORTED_TARGET libevent_core)
  endif()
  if(NOT BENCH_LIBUV_FOUND)
    set(no_libuv "pkg-config knows no libuv (Debian: libuv1-dev)")
  endif()
  if(NOT BENCH_LIBEVENT_FOUND)
    set(no_libevent "pkg-config knows no libevent_core (Debian: libevent-dev)")
  endif()

  include(CheckLanguage)
  check_language(CXX)
  find_path(BENCH_ASIO_INCLUDE_DIR asio.hpp)
  mark_as_advanced(BENCH_ASIO_INCLUDE_DIR)
  if(NOT CMAKE_CXX_COMPILER)
    set(no_asio "no C++ compiler was found (Debian: g++)")
  elseif(NOT BENCH_ASIO_INCLUDE_DIR)
    set(no_asio "no asio.hpp was found (Debian: libasio-dev)")
  else()
    enable_language(CXX)
    add_library(bench_asio INTERFACE)
    target_include_directories(bench_asio SYSTEM INTERFACE ${BENCH_ASIO_INCLUDE_DIR})
    target_compile_definitions(bench_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
    target_compile_features(bench_asio INTERFACE cxx_std_17)
  endif()
endif()

if(WIN32)
  bench_peer(floor floor_windows.c "")
else()
  bench_peer(floor floor_linux.c "")
endif()
bench_peer(weir weir.c "" weir::static)
bench_peer(libuv libuv.c "${no_libuv}" PkgConfig::BENCH_LIBUV)
bench_peer(libevent libevent.c "${no_libevent}" PkgConfig::BENCH_LIBEVENT)
bench_peer(asio asio.cpp "${no_asio}" bench_asio)
set_target_properties(weir-bench PROPERTIES CXX_EXTENSIONS OFF)
file(CONFIGURE OUTPUT bench_peers.h CONTENT "/* Written by CMake (peers/peers.cmake). */
#define BENCH_PEERS(PEER)@bench_peers@
#define BENCH_MISSING(MISSING)@bench_missing@
" @ONLY)
