// Which acknowledgements a later one makes superfluous. lwIP answers every second packet; when many came at once, the
// sender is told as much by fewer answers, and answers are what a download costs most. Pure functions over packets of
// the stack's own, whose headers lie in one piece.
// Neighbours: device.hpp (holds one back until the end of a hold of the stack's lock).
#pragma once

struct pbuf;

namespace wintun {

// TCP without data, options or any flag but ACK. Others say more than how far the receiver is.
bool is_bare_acknowledgement(const pbuf& packet);

// Of the same connection, and it acknowledges more. Both are bare ones. One that acknowledges the same is never
// left out: to the sender it is a sign of a loss, or of a window that has opened.
bool replaces(const pbuf& newer, const pbuf& older);

}  // namespace wintun
