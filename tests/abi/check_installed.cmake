# cmake -DBUILD=... -DCOMPILER=... -DSOURCE=... -DWORK=... -P check_installed.cmake
# What `cmake --install` puts down is enough to build and start a program with pkg-config.
file(REMOVE_RECURSE "${WORK}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --component ringtun --prefix "${WORK}/root" OUTPUT_QUIET
                                                                                        COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE pc "${WORK}/root/*/ringtun.pc")
get_filename_component(pc_folder "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} "${pc_folder}")
execute_process(COMMAND pkg-config --define-variable=prefix=${WORK}/root --cflags --libs ringtun
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
get_filename_component(library_folder "${pc_folder}" DIRECTORY)
execute_process(COMMAND "${COMPILER}" -std=c99 "${SOURCE}" ${flags} "-Wl,-rpath,${library_folder}" -o "${WORK}/program"
                        COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${WORK}/program" COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE_RECURSE "${WORK}")
