// The program on the C++ API runs against the kernel as a program of its own, and the manual shows no other code.
#include <gmock/gmock.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "../abi/network.hpp"
#include "session/device.hpp"

extern char** environ;

namespace wintun {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ExampleTest, the_device_reader_prints_what_the_kernel_sends_and_ends_on_interrupt) {
  in_own_network([] {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string program = WINTUN_DEVICE_READER, name = "Reader";
    char* arguments[] = {program.data(), name.data(), nullptr};
    pid_t id = 0;
    ASSERT_EQ(posix_spawn(&id, program.c_str(), &actions, nullptr, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    FILE* const output = fdopen(ends[0], "r");
    char line[256] = "";
    EXPECT_STREQ(fgets(line, sizeof(line), output), "Reader is up. Try: ping 10.6.8.8\n");

    const int socket_of_kernel = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const sockaddr_in peer = ipv4("10.6.8.8", 9);
    EXPECT_EQ(sendto(socket_of_kernel, "12345", 5, 0, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)), 5);
    EXPECT_STREQ(fgets(line, sizeof(line), output), "Received 33 bytes of IPv4\n");
    ::close(socket_of_kernel);

    kill(id, SIGINT);
    EXPECT_STREQ(fgets(line, sizeof(line), output), "1 packets\n");
    int status = -1;
    EXPECT_EQ(waitpid(id, &status, 0), id);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(if_nametoindex("Reader"), 0u);
    fclose(output);
  });
}

TEST(ExampleTest, the_code_in_the_manual_is_code_that_is_built) {
  const std::string manual = text_of(WINTUN_SOURCE "/docs/cpp.md");
  const std::string program = text_of(WINTUN_SOURCE "/examples/device_reader.cpp");
  const std::string fence = "```cpp\n";
  int blocks = 0;
  for (auto at = manual.find(fence); at != std::string::npos; at = manual.find(fence, at + 1)) {
    const auto begin = at + fence.size();
    EXPECT_THAT(program, testing::HasSubstr(manual.substr(begin, manual.find("```", begin) - begin)));
    ++blocks;
  }
  EXPECT_GE(blocks, 2);
}

}  // namespace
}  // namespace wintun
