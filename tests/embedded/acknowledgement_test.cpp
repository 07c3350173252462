// Which acknowledgements leave the stack when many packets come at once: fewer, never one that says something else.
#include <gtest/gtest.h>

#include "cable.hpp"

namespace wintun {
namespace {

std::uint64_t left_out(const Talk& talk) { return talk.pair.b.endpoint->acknowledgements_left_out; }

TEST(acknowledgement, of_a_burst_few_are_sent_and_the_last_says_all) {
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    Talk talk(host);
    ASSERT_EQ(talk.client->send(pattern(30000, 1)).error, 0);
    auto data = taken(talk.pair.a);
    ASSERT_GE(data.size(), 8U);
    data.resize(data.size() / 2 * 2);  // the stack answers each second one at once
    deliver(talk.pair.b, data);
    const auto answers = taken(talk.pair.b);
    EXPECT_EQ(answers.size() + left_out(talk), data.size() / 2);  // none is lost in silence
    // Four become one, not more: a sender that grows by their number must still find its pace.
    EXPECT_EQ(answers.size(), (data.size() / 2 + 3) / 4);
    deliver(talk.pair.a, answers);
    EXPECT_LE(talk.client->unsent(), 30000 - data.size() * 1400);
  }
}

TEST(acknowledgement, those_that_tell_of_a_loss_are_all_sent) {
  Talk talk("10.9.0.2");
  ASSERT_EQ(talk.client->send(pattern(30000, 1)).error, 0);
  auto data = taken(talk.pair.a);
  data.erase(data.begin());
  deliver(talk.pair.b, data);
  EXPECT_EQ(taken(talk.pair.b).size(), data.size());
  EXPECT_EQ(left_out(talk), 0U);
}

TEST(acknowledgement, those_that_acknowledge_nothing_new_are_all_sent) {
  Talk talk("10.9.0.2");
  ASSERT_EQ(talk.client->send(pattern(1460, 1)).error, 0);
  const auto data = taken(talk.pair.a);
  ASSERT_EQ(data.size(), 1U);
  deliver(talk.pair.b, std::vector(6, data[0]));  // as a sender repeats what it takes for lost
  EXPECT_GE(taken(talk.pair.b).size(), 5U);
  EXPECT_EQ(left_out(talk), 0U);
}

TEST(acknowledgement, those_of_two_connections_are_kept_apart) {
  Pair pair;
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  std::shared_ptr<Connection> clients[2], servers[2];
  {
    Cable cable(pair.a, pair.b);
    for (int i = 0; i < 2; ++i) std::tie(clients[i], servers[i]) = meet(pair.a, *listener);
  }
  std::vector<Bytes> data[2], both;
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(clients[i]->send(pattern(6000, 1)).error, 0);
    data[i] = taken(pair.a);
    ASSERT_GE(data[i].size(), 4U);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    both.push_back(data[0][i]);
    both.push_back(data[1][i]);
  }
  deliver(pair.b, both);
  EXPECT_EQ(taken(pair.b).size(), 4U);
  EXPECT_EQ(pair.b.endpoint->acknowledgements_left_out, 0U);
}

TEST(acknowledgement, it_goes_before_what_the_stack_says_after_it) {
  Talk talk("10.9.0.2");
  ASSERT_EQ(talk.client->send(pattern(2 * 1460, 1)).error, 0);
  auto burst = taken(talk.pair.a);
  ASSERT_EQ(burst.size(), 2U);
  Bytes ping = {0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 8, 0, 0, 0, 0, 1, 0, 1};
  talk.pair.b.endpoint->set_checksum_checking(false);
  burst.push_back(ping);
  deliver(talk.pair.b, burst);
  const auto answers = taken(talk.pair.b);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0][9], 6);
  EXPECT_EQ(answers[1][9], 1);
}

}  // namespace
}  // namespace wintun
