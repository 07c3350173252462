// What a sender must do about losses, and lwIP's alone does not: it would wait for the timer, which on these links is
// a hundred round trips. Called for each segment of a connection before lwIP looks at it. Under the stack's lock.
#include <lwip/priv/tcp_priv.h>

#include <cstdint>
#include <optional>

namespace wintun {
namespace {

std::uint32_t word_at(const std::uint8_t* at) {
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 | at[3];
}

// Whether selective acknowledgements (RFC 2018) tell of data that came behind a gap.
bool tells_of_a_gap(const std::uint8_t* options, std::size_t size, std::uint32_t acknowledged) {
  constexpr std::uint8_t kEnd = 0, kNothing = 1, kSack = 5, kOneBlock = 10;
  for (std::size_t at = 0; at < size && options[at] != kEnd;) {
    if (options[at] == kNothing) {
      ++at;
      continue;
    }
    if (size - at < 2 || options[at + 1] < 2 || options[at + 1] > size - at) return false;
    if (options[at] == kSack) {
      return options[at + 1] >= kOneBlock && TCP_SEQ_GT(word_at(options + at + 2), acknowledged);
    }
    at += options[at + 1];
  }
  return false;
}

// lwIP takes an acknowledgement that opens the window for news of the window and nothing else. While the receiving
// program reads on, each of those that tell of a loss is one, and none would count. RFC 6675 counts what tells of
// data behind a gap. So the window is moved first, and then there is nothing new about it.
void take_window_of_duplicate(tcp_pcb& pcb, const tcp_hdr& header, std::size_t options) {
  if (header.ackno != pcb.lastack || pcb.snd_wl2 != header.ackno || pcb.unacked == nullptr) return;
  const tcpwnd_size_t window = SND_WND_SCALE(&pcb, tcpwnd_size_t{header.wnd});
  if (window <= pcb.snd_wnd) return;
  if (!tells_of_a_gap(reinterpret_cast<const std::uint8_t*>(&header) + TCP_HLEN, options, header.ackno)) return;
  pcb.snd_wnd = window;
  if (pcb.snd_wnd_max < window) pcb.snd_wnd_max = window;
}

// What was sent before a recovery began ends here. It hangs at lwIP's own object, one more than it is.
u8_t recovery_argument() {
  static const u8_t id = tcp_ext_arg_alloc_id();
  return id;
}
std::optional<std::uint32_t> recovery_point(const tcp_pcb& pcb) {
  const auto kept = reinterpret_cast<std::uintptr_t>(tcp_ext_arg_get(&pcb, recovery_argument()));
  return kept == 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(kept - 1));
}
void set_recovery_point(tcp_pcb& pcb, std::optional<std::uint32_t> point) {
  const std::uintptr_t kept = point ? std::uintptr_t{*point} + 1 : 0;
  tcp_ext_arg_set(&pcb, recovery_argument(), reinterpret_cast<void*>(kept));
}

// The first segment behind `from` goes once more, in front of all that was never sent.
void resend(tcp_pcb& pcb, std::uint32_t from) {
  tcp_seg** at = &pcb.unacked;
  while (*at != nullptr && TCP_SEQ_LEQ(lwip_ntohl((*at)->tcphdr->seqno) + TCP_TCPLEN(*at), from)) at = &(*at)->next;
  tcp_seg* const segment = *at;
  if (segment == nullptr) return;
  *at = segment->next;
  const std::uint32_t begin = lwip_ntohl(segment->tcphdr->seqno);
  at = &pcb.unsent;
  while (*at != nullptr && TCP_SEQ_LT(lwip_ntohl((*at)->tcphdr->seqno), begin)) at = &(*at)->next;
  segment->next = *at;
  *at = segment;
  if (segment->next == nullptr) pcb.unsent_oversize = 0;  // it is the last now, and has no room for more data
  pcb.rttest = 0;                                         // nobody could say which of the two was acknowledged
}

// lwIP ends a fast recovery with the first acknowledgement of anything. When a second packet was lost, it has no room
// to send what would tell it so. RFC 6582: the recovery lasts until all that was sent before it is acknowledged, and
// an acknowledgement of a part says what is missing next.
void go_on_recovering(tcp_pcb& pcb, const tcp_hdr& header) {
  constexpr u8_t kDuplicates = 3;
  std::optional<std::uint32_t> point = recovery_point(pcb);
  if ((pcb.flags & TF_RTO) != 0 || (point && TCP_SEQ_GEQ(header.ackno, *point))) {
    if (point) set_recovery_point(pcb, std::nullopt);
    return;
  }
  if (!point) {
    if ((pcb.flags & TF_INFR) == 0) return;
    set_recovery_point(pcb, point = pcb.snd_nxt);
  }
  tcp_set_flags(&pcb, TF_INFR);
  if (TCP_SEQ_GT(header.ackno, pcb.lastack)) {
    resend(pcb, header.ackno);
  } else if (pcb.dupacks < kDuplicates) {
    pcb.dupacks = kDuplicates;  // so that each makes room for another packet
  }
}

}  // namespace
}  // namespace wintun

extern "C" int wintun_lwip_segment_came(tcp_pcb* pcb, const tcp_hdr* header, unsigned short options,
                                        const pbuf* data) {
  const bool has_sent = pcb->state >= ESTABLISHED && pcb->state != TIME_WAIT;
  if (has_sent && (TCPH_FLAGS(header) & TCP_ACK) != 0) {
    if (data->tot_len == 0) wintun::take_window_of_duplicate(*pcb, *header, options);
    wintun::go_on_recovering(*pcb, *header);
  }
  return ERR_OK;
}
