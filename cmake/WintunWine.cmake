# The driver's real file, run (preset wine, after the preset driver): the tests of tests/driver/ndis and tests/kernel
# compiled for Windows, with the file loaded by tests/kernel/windows/image in the place of the driver's sources; and a
# smoke test in Wine's service manager. tools/run-wine runs every program, so CTest needs no Windows.
# docs/windows.md says what that shows and what it does not.
set(RINGTUN_SYS "${PROJECT_SOURCE_DIR}/build/driver/package/ringtun.sys" CACHE FILEPATH "The driver's file")
set(GOOGLETEST_SOURCE /usr/src/googletest CACHE PATH "GoogleTest's source: Debian has no build of it for Windows")
add_subdirectory("${GOOGLETEST_SOURCE}" googletest EXCLUDE_FROM_ALL SYSTEM)
include(GoogleTest)
enable_testing()

# The kernel. Each of its functions is exported, as the file's imports are bound to them by name.
set(kernel "${PROJECT_SOURCE_DIR}/tests/kernel")
set(ddk /usr/x86_64-w64-mingw32/include/ddk)
file(GLOB kernel_sources CONFIGURE_DEPENDS "${kernel}/nt/*.cpp" "${kernel}/ndis/*.cpp" "${kernel}/windows/*.cpp")
list(FILTER kernel_sources EXCLUDE REGEX "_linux\\.cpp$")
add_library(wintun_kernel OBJECT ${kernel_sources})
target_include_directories(wintun_kernel SYSTEM BEFORE PUBLIC "${kernel}/windows/include" "${ddk}")
target_include_directories(wintun_kernel PUBLIC "${PROJECT_SOURCE_DIR}")
target_compile_definitions(wintun_kernel PUBLIC _WIN32_WINNT=0x0A00 NTDDI_VERSION=0x0A000000
                                                "WINTUN_DRIVER_FILE=\"Z:${RINGTUN_SYS}\"")
target_link_libraries(wintun_kernel PUBLIC wintun_options ntdll)

function(wintun_wine_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE wintun_kernel gmock gtest_main)
  target_link_options(${name} PRIVATE -Wl,--export-all-symbols)
  gtest_discover_tests(${name} PROPERTIES LABELS "driver;wine" TIMEOUT 300 DISCOVERY_TIMEOUT 120)
endfunction()

file(GLOB driver_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/driver/ndis/*_test.cpp")
if(driver_tests)
  wintun_wine_test(driver_file_test ${driver_tests})
endif()

# The same file in Wine's service manager. ndis.sys needs of Wine's kernel what it imports, and no more of ours than
# what Wine's lacks.
add_library(ndis_sys SHARED "${kernel}/windows/service/ndis_sys.cpp" "${kernel}/windows/service/ndis.def"
            "${kernel}/ndis/buffers.cpp" "${kernel}/ndis/device.cpp" "${kernel}/ndis/locks.cpp"
            "${kernel}/ndis/miniport.cpp" "${kernel}/ndis/oid.cpp" "${kernel}/ndis/receive.cpp"
            "${kernel}/ndis/send.cpp" "${kernel}/nt/checker.cpp" "${kernel}/nt/csq.cpp" "${kernel}/nt/fault.cpp"
            "${kernel}/nt/level.cpp" "${kernel}/nt/lock_order.cpp" "${kernel}/nt/rundown.cpp"
            "${kernel}/nt/stack_windows.cpp")
set_target_properties(ndis_sys PROPERTIES PREFIX "" OUTPUT_NAME ndis SUFFIX .sys)
target_include_directories(ndis_sys SYSTEM BEFORE PRIVATE "${kernel}/windows/include" "${ddk}")
target_include_directories(ndis_sys PRIVATE "${PROJECT_SOURCE_DIR}")
target_compile_definitions(ndis_sys PRIVATE _WIN32_WINNT=0x0A00 NTDDI_VERSION=0x0A000000)
target_link_libraries(ndis_sys PRIVATE wintun_options ntoskrnl ntdll)

add_executable(service_test "${kernel}/windows/service/service_test.cpp")
target_include_directories(service_test PRIVATE "${PROJECT_SOURCE_DIR}")
target_compile_definitions(service_test PRIVATE _WIN32_WINNT=0x0A00)
target_link_libraries(service_test PRIVATE wintun_options)
add_test(NAME service_test COMMAND "${kernel}/windows/service/run" $<TARGET_FILE:service_test>
         $<TARGET_FILE:ndis_sys> "${RINGTUN_SYS}" "${PROJECT_BINARY_DIR}/service-prefix")
set_tests_properties(service_test PROPERTIES LABELS "driver;wine" TIMEOUT 120)
