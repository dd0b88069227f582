# What `cmake --install` puts where: headers, libraries, the CMake package, weir.pc.
include(CMakePackageConfigHelpers)

install(DIRECTORY core/include/weir platform/include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(
  TARGETS weir ${WEIR_LIBRARIES}
  EXPORT weir-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

set(WEIR_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
install(EXPORT weir-targets NAMESPACE weir:: DESTINATION ${WEIR_CMAKE_DIR})
configure_package_config_file(cmake/weir-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/weir-config.cmake
                              INSTALL_DESTINATION ${WEIR_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/weir-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/weir-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/weir-config-version.cmake
        DESTINATION ${WEIR_CMAKE_DIR})

if(NOT WIN32) # where threads are the system's own
  set(WEIR_PC_LIBS_PRIVATE "-pthread")
endif()
if(WEIR_HAVE_JEMALLOC)
  string(APPEND WEIR_PC_LIBS_PRIVATE " -ljemalloc -lm") # libjemalloc.a needs the mathematics
endif()
foreach(library IN LISTS WEIR_SYSTEM_LIBRARIES)
  string(APPEND WEIR_PC_LIBS_PRIVATE " -l${library}")
endforeach()
# Without a shared library, the private ones are needed by everybody.
if(WEIR_SHARED)
  set(WEIR_PC_LIBS "-L\${libdir} -lweir")
else()
  set(WEIR_PC_LIBS "-L\${libdir} -lweir ${WEIR_PC_LIBS_PRIVATE}")
  set(WEIR_PC_CFLAGS " -DWEIR_STATIC")
endif()
file(RELATIVE_PATH WEIR_PC_INCLUDE_FROM_LIB ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(cmake/weir.pc.in weir.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
