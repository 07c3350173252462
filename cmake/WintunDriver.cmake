# The files that Windows is given (preset driver): ringtun.sys, its INF and catalog, a merge module and an installer,
# signed by a certificate made on the spot, or by the one that RINGTUN_CERT names. All end in build/driver/package.
# Nothing here runs on Windows; tests/driver/package looks at every file.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

set(RINGTUN_DATE "11/26/2026" CACHE STRING "The driver's date in its INF: Windows ranks drivers by it")
set(RINGTUN_CERT "" CACHE FILEPATH "PKCS#12 file to sign with; empty: a test certificate made on the spot")
set(RINGTUN_CERT_PASSWORD_FILE "" CACHE FILEPATH "File with the password of RINGTUN_CERT")
set(RINGTUN_CROSS_CERT "" CACHE FILEPATH "Cross-certificate to add to the signatures")
set(RINGTUN_TIMESTAMP_URL "" CACHE STRING "RFC 3161 server that dates the signatures; empty: they are not dated")

foreach(tool lld-link-14 llvm-rc-14 osslsigncode wixl msibuild gcab openssl)
  string(MAKE_C_IDENTIFIER "${tool}" id)
  string(TOUPPER "${id}" id)
  find_program(${id} ${tool} REQUIRED)
endforeach()
find_program(PYTHON NAMES python3 HINTS "${PROJECT_SOURCE_DIR}/.venv/bin" NO_DEFAULT_PATH REQUIRED)

set(mingw "/usr/x86_64-w64-mingw32" CACHE PATH "mingw-w64's headers and import libraries")
set(source "${PROJECT_SOURCE_DIR}/driver/ndis")
set(package "${PROJECT_BINARY_DIR}/package")
set(work "${PROJECT_BINARY_DIR}/unsigned")
file(MAKE_DIRECTORY "${package}" "${work}")

# Both processors' objects. ARM64 is compiled only, against the headers of tests/kernel: mingw-w64's know no ARM64, and
# its import libraries are not here either.
file(GLOB driver_sources CONFIGURE_DEPENDS "${source}/*.cpp")
add_library(ringtun_options INTERFACE)
target_include_directories(ringtun_options INTERFACE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}")
target_compile_definitions(ringtun_options INTERFACE
                           RINGTUN_VERSION_MAJOR=${PROJECT_VERSION_MAJOR} RINGTUN_VERSION_MINOR=${PROJECT_VERSION_MINOR})
target_compile_options(ringtun_options INTERFACE
  -fms-extensions -ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics -nostdinc++ -O2 -g0
  -fasynchronous-unwind-tables  # x64 demands them of every function: exceptions and stack traces pass through
  -Wall -Wextra -Wshadow -Wconversion -Werror)
add_library(ringtun_x64 OBJECT ${driver_sources})
target_link_libraries(ringtun_x64 PRIVATE ringtun_options)
# Tables would be data among the code, which a test looks through for privileged instructions.
target_compile_options(ringtun_x64 PRIVATE -mno-red-zone -mgeneral-regs-only -fno-jump-tables
                                           "SHELL:-isystem ${mingw}/include/ddk" "SHELL:-isystem ${mingw}/include")
add_library(ringtun_arm64 OBJECT ${driver_sources})
target_link_libraries(ringtun_arm64 PRIVATE ringtun_options)
# mingw's kernel headers know x86 only, so these are the published names as the tests have them, with the compiler's own
# __try in the place of theirs.
target_compile_options(ringtun_arm64 PRIVATE --target=aarch64-w64-windows-gnu -D__try=__try
                       -DGetExceptionCode=_exception_code "SHELL:-isystem ${PROJECT_SOURCE_DIR}/tests/kernel/include"
                       "SHELL:-isystem ${mingw}/include")

configure_file("${source}/package/ringtun.rc.in" "${work}/ringtun.rc" @ONLY)
configure_file("${source}/package/ringtun.inf.in" "${package}/ringtun.inf" @ONLY NEWLINE_STYLE CRLF)
configure_file("${source}/package/ringtun.wxs.in" "${work}/ringtun.wxs" @ONLY)

# "--": a path that begins with "/c" would be an option.
add_custom_command(
  OUTPUT "${work}/ringtun.sys" COMMENT "Linking ringtun.sys"
  COMMAND ${LLVM_RC_14} /no-preprocess /fo "${work}/ringtun.res" -- "${work}/ringtun.rc"
  COMMAND ${LLD_LINK_14} /driver /subsystem:native,10.0 /entry:DriverEntry /nodefaultlib /dynamicbase /nxcompat
          /highentropyva /machine:x64 /Brepro /opt:ref
          /alternatename:ExEventObjectType=__imp_ExEventObjectType
          /alternatename:IoFileObjectType=__imp_IoFileObjectType /out:${work}/ringtun.sys $<TARGET_OBJECTS:ringtun_x64>
          "${work}/ringtun.res" "${mingw}/lib/libntoskrnl.a" "${mingw}/lib/libndis.a"
  DEPENDS ringtun_x64 $<TARGET_OBJECTS:ringtun_x64> "${work}/ringtun.rc" COMMAND_EXPAND_LISTS VERBATIM)

# Who signs.
if(RINGTUN_CERT)
  set(signer -pkcs12 "${RINGTUN_CERT}")
  set(signer_files "${RINGTUN_CERT}")
  if(RINGTUN_CERT_PASSWORD_FILE)
    list(APPEND signer -readpass "${RINGTUN_CERT_PASSWORD_FILE}")
  endif()
else()
  set(certificate "${package}/ringtun-test.pem")
  set(key "${work}/ringtun-test.key")
  add_custom_command(
    OUTPUT "${certificate}" "${key}" COMMENT "Making a certificate for tests"
    COMMAND ${OPENSSL} req -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -subj "/CN=ringtun test"
            -addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=codeSigning"
            -keyout "${key}" -out "${certificate}"
    VERBATIM)
  set(signer -certs "${certificate}" -key "${key}")
  set(signer_files "${certificate}" "${key}")
endif()
if(RINGTUN_CROSS_CERT)
  list(APPEND signer -ac "${RINGTUN_CROSS_CERT}")
endif()
if(RINGTUN_TIMESTAMP_URL)
  list(APPEND signer -ts "${RINGTUN_TIMESTAMP_URL}")
endif()

function(ringtun_sign from to)
  add_custom_command(
    OUTPUT "${to}" COMMENT "Signing ${to}"
    COMMAND ${CMAKE_COMMAND} -E rm -f "${to}"
    COMMAND ${OSSLSIGNCODE} sign ${signer} -h sha256 -n ringtun -in "${from}" -out "${to}"
    DEPENDS "${from}" ${signer_files} VERBATIM)
endfunction()

ringtun_sign("${work}/ringtun.sys" "${package}/ringtun.sys")
add_custom_command(
  OUTPUT "${work}/ringtun.cat" COMMENT "Making the catalog"
  COMMAND ${PYTHON} "${source}/package/make_catalog.py" --hardware-id ringtun --out "${work}/ringtun.cat"
          "${package}/ringtun.sys" "${package}/ringtun.inf"
  DEPENDS "${package}/ringtun.sys" "${package}/ringtun.inf" "${source}/package/make_catalog.py" VERBATIM)
ringtun_sign("${work}/ringtun.cat" "${package}/ringtun.cat")

set(payload "${package}/ringtun.sys" "${package}/ringtun.inf" "${package}/ringtun.cat")
add_custom_command(
  OUTPUT "${package}/ringtun.msm" COMMENT "Making the merge module"
  COMMAND ${PYTHON} "${source}/package/make_merge_module.py" --version ${PROJECT_VERSION}
          --out "${package}/ringtun.msm" ${payload}
  DEPENDS ${payload} "${source}/package/make_merge_module.py" VERBATIM)
# Hands the package to the driver store. wixl has no words for a command in a directory (type 34; + 1024 + 2048: deferred,
# as the system), so the rows are written by hand: behind InstallFiles, which is 4000.
set(add_driver "[System64Folder]pnputil.exe /add-driver ringtun.inf")
add_custom_command(
  OUTPUT "${work}/ringtun.msi" COMMENT "Making the installer"
  COMMAND ${WIXL} --arch x64 -o "${work}/ringtun.msi" "${work}/ringtun.wxs"
  COMMAND ${MSIBUILD} "${work}/ringtun.msi" -q
          "INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('AddDriver', 3106, 'INSTALLDIR', '${add_driver}')"
          "INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('AddDriver', 'NOT REMOVE', 4001)"
  WORKING_DIRECTORY "${package}" DEPENDS ${payload} "${work}/ringtun.wxs" VERBATIM)
ringtun_sign("${work}/ringtun.msi" "${package}/ringtun.msi")

add_custom_target(ringtun_package ALL DEPENDS ${payload} "${package}/ringtun.msm" "${package}/ringtun.msi")
