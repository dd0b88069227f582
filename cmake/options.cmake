# weir_options: how every file of the project is compiled. Private to it; an embedder inherits none of this.
add_library(weir_options INTERFACE)
target_compile_features(weir_options INTERFACE c_std_17)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(WIN32) # Windows 10, without what would stand in the way of weir's own names, and with C's own printf
  target_compile_definitions(weir_options INTERFACE _WIN32_WINNT=0x0A00 WIN32_LEAN_AND_MEAN NOMINMAX __USE_MINGW_ANSI_STDIO=1)
endif()
if(MSVC) # nobody has built it with this so far: see CONTRIBUTING.md
  target_compile_options(weir_options INTERFACE /W4 $<$<COMPILE_LANGUAGE:C>:/experimental:c11atomics>)
else()
  target_compile_options(
    weir_options
    INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-align -Wformat=2 -Wvla -Wundef
              $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>)
endif()
if(WEIR_WERROR)
  target_compile_options(weir_options INTERFACE $<IF:$<C_COMPILER_ID:MSVC>,/WX,-Werror>)
endif()

set(WEIR_SANITIZE_FLAGS "")
if(WEIR_SANITIZE)
  set(WEIR_SANITIZE_FLAGS -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(weir_options INTERFACE ${WEIR_SANITIZE_FLAGS})
  target_link_options(weir_options INTERFACE ${WEIR_SANITIZE_FLAGS})
endif()
