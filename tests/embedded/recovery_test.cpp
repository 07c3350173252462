// Losses are mended as soon as the receiver's answers tell of them, not when a timer runs out: the packet that was
// lost is there as soon as the answers are, in the thread that brings them.
#include <gtest/gtest.h>

#include <algorithm>

#include "cable.hpp"

namespace wintun {
namespace {

constexpr std::size_t kTcp = 20;  // where TCP's header begins, behind IPv4's

// Of the first flight of a sender, what was lost; the answers to the rest are not delivered yet.
struct Loss {
  explicit Loss(const std::vector<std::size_t>& lost) {
    EXPECT_EQ(talk.client->send(pattern(30000, 1)).error, 0);
    const std::vector<Bytes> flight = taken(talk.pair.a);
    EXPECT_EQ(flight.size(), 10U);
    std::vector<Bytes> rest;
    for (std::size_t i = 0; i < flight.size(); ++i) {
      (std::find(lost.begin(), lost.end(), i) != lost.end() ? missing : rest).push_back(flight[i]);
    }
    deliver(talk.pair.b, rest);
    answers = taken(talk.pair.b);
  }

  // Which of the missing ones the sender sends now.
  std::vector<std::size_t> resent() {
    std::vector<std::size_t> which;
    for (const Bytes& packet : taken(talk.pair.a)) {
      for (std::size_t i = 0; i < missing.size(); ++i) {
        if (std::equal(packet.begin() + kTcp + 4, packet.begin() + kTcp + 8, missing[i].begin() + kTcp + 4)) {
          which.push_back(i);
        }
      }
    }
    return which;
  }

  Talk talk{"10.9.0.2"};
  std::vector<Bytes> missing, answers;
};

// As if the receiving program had read a little before each answer.
void open_windows(Loss& loss) {
  std::uint8_t more = 0;
  for (Bytes& answer : loss.answers) answer[kTcp + 15] = ++more;
  loss.talk.pair.a.endpoint->set_checksum_checking(false);
}

using Which = std::vector<std::size_t>;

// What an attempt gives. On a machine that stands still for a while the timer comes first: then another one is made.
Which of_attempts(const Which& expected, const std::function<Which()>& attempt) {
  for (int more = 5;; --more) {
    const Which which = attempt();
    if (which == expected || more == 0) return which;
  }
}

TEST(recovery, a_packet_that_is_missing_is_sent_again_at_once) {
  const Which first = {0};
  EXPECT_EQ(first, of_attempts(first, [] {
              Loss loss({0});
              deliver(loss.talk.pair.a, loss.answers);
              return loss.resent();
            }));
}

TEST(recovery, so_it_is_while_the_window_opens) {
  const Which first = {0};
  EXPECT_EQ(first, of_attempts(first, [] {
              Loss loss({0});
              open_windows(loss);
              deliver(loss.talk.pair.a, loss.answers);
              return loss.resent();
            }));
}

TEST(recovery, a_window_that_opens_and_tells_of_no_gap_is_no_loss) {
  const Which none;
  EXPECT_EQ(none, of_attempts(none, [] {
              Loss loss({0});
              open_windows(loss);
              constexpr std::uint8_t kNothing = 1;
              for (Bytes& answer : loss.answers) std::fill(answer.begin() + kTcp + 20, answer.end(), kNothing);
              deliver(loss.talk.pair.a, loss.answers);
              return loss.resent();
            }));
}

TEST(recovery, each_of_several_in_one_flight_is_sent_again_when_the_one_before_it_has_arrived) {
  const Which each = {0, 1, 2, 3};
  EXPECT_EQ(each, of_attempts(each, [] {
              Loss loss({0, 3, 4, 8});
              Which which;
              for (const Bytes& packet : loss.missing) {
                deliver(loss.talk.pair.a, loss.answers);
                deliver(loss.talk.pair.a, std::vector(4, loss.answers.back()));  // they say nothing new
                for (const std::size_t one : loss.resent()) which.push_back(one);
                deliver(loss.talk.pair.b, {packet});
                loss.answers = taken(loss.talk.pair.b);
              }
              deliver(loss.talk.pair.a, loss.answers);
              for (const std::size_t one : loss.resent()) which.push_back(one);
              return which;
            }));
}

TEST(recovery, it_is_over_when_everything_has_arrived_and_the_next_loss_is_another) {
  const Which first = {0};
  EXPECT_EQ(first, of_attempts(first, [] {
              Loss loss({0, 3});
              for (const Bytes& packet : loss.missing) {
                deliver(loss.talk.pair.a, loss.answers);
                (void)taken(loss.talk.pair.a);
                deliver(loss.talk.pair.b, {packet});
                loss.answers = taken(loss.talk.pair.b);
              }
              deliver(loss.talk.pair.a, loss.answers);
              {
                Cable cable(loss.talk.pair.a, loss.talk.pair.b);
                Bytes got;
                EXPECT_EQ(receive_all(*loss.talk.server, got, 30000), 0);
                EXPECT_TRUE(got == pattern(30000, 1));
                while (loss.talk.client->unsent() != 0) std::this_thread::yield();
              }
              EXPECT_EQ(loss.talk.client->send(pattern(30000, 2)).error, 0);
              std::vector<Bytes> flight = taken(loss.talk.pair.a);
              loss.missing = {flight.at(0)};
              flight.erase(flight.begin());
              deliver(loss.talk.pair.b, flight);
              deliver(loss.talk.pair.a, taken(loss.talk.pair.b));
              return loss.resent();
            }));
}

}  // namespace
}  // namespace wintun
