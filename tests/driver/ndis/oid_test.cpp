// OIDs: every one that is listed is answered, in its exact length, and nothing is written or changed by a request
// that is refused.
#include <algorithm>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

class OidTest : public NdisTest {
 protected:
  void SetUp() override {
    NdisTest::SetUp();
    ASSERT_EQ(adapter().start(), kSuccess);
  }
  std::uint32_t query32(NDIS_OID oid) {
    std::uint32_t value = 0xDEADBEEF;
    const kernel::OidResult result = adapter().query(oid, &value, sizeof(value));
    EXPECT_EQ(result.status, kSuccess) << std::hex << oid;
    EXPECT_EQ(result.bytes, sizeof(value)) << std::hex << oid;
    return value;
  }
};

bool is_set_only(NDIS_OID oid) {
  return oid == OID_PNP_SET_POWER || oid == OID_GEN_CURRENT_PACKET_FILTER || oid == OID_GEN_CURRENT_LOOKAHEAD;
}
bool is_counter(NDIS_OID oid) { return oid == OID_GEN_XMIT_OK || oid == OID_GEN_RCV_OK; }

// What Microsoft's reference calls mandatory for a miniport of NDIS 6, and the power states.
TEST_F(OidTest, all_that_a_miniport_must_support_are_listed) {
  const std::vector<std::uint32_t> listed = adapter().supported_oids();
  for (const NDIS_OID oid :
       {OID_GEN_CURRENT_LOOKAHEAD, OID_GEN_CURRENT_PACKET_FILTER, OID_GEN_INTERRUPT_MODERATION,
        OID_GEN_MAXIMUM_TOTAL_SIZE, OID_GEN_RCV_OK, OID_GEN_RECEIVE_BLOCK_SIZE, OID_GEN_RECEIVE_BUFFER_SPACE,
        OID_GEN_STATISTICS, OID_GEN_TRANSMIT_BLOCK_SIZE, OID_GEN_TRANSMIT_BUFFER_SPACE, OID_GEN_VENDOR_DESCRIPTION,
        OID_GEN_VENDOR_DRIVER_VERSION, OID_GEN_VENDOR_ID, OID_GEN_XMIT_OK, OID_PNP_QUERY_POWER, OID_PNP_SET_POWER}) {
    EXPECT_EQ(std::count(listed.begin(), listed.end(), oid), 1) << std::hex << oid;
  }
}

TEST_F(OidTest, every_query_that_is_listed_is_answered_in_its_exact_length_and_refused_in_less) {
  // What is not written keeps the 0xCD of the kernel's own buffer.
  for (const NDIS_OID oid : adapter().supported_oids()) {
    if (is_set_only(oid)) continue;
    std::vector<std::uint8_t> buffer(4096, 0xCD);
    const kernel::OidResult full = adapter().query(oid, buffer.data(), 4096);
    ASSERT_EQ(full.status, kSuccess) << std::hex << oid;
    EXPECT_EQ(adapter().query(oid, std::vector<std::uint8_t>(full.bytes + 1).data(), full.bytes).status, kSuccess);
    EXPECT_TRUE(
        std::all_of(buffer.begin() + full.bytes, buffer.end(), [](std::uint8_t byte) { return byte == 0xCD; }));
    const std::uint32_t least = is_counter(oid) ? 4 : full.bytes;
    for (std::uint32_t room = 0; room < least; ++room) {
      std::vector<std::uint8_t> little(room + 1, 0xCD);
      const kernel::OidResult result = adapter().query(oid, little.data(), room);
      ASSERT_EQ(result.status, NDIS_STATUS_BUFFER_TOO_SHORT) << std::hex << oid << " in " << room;
      EXPECT_EQ(result.bytes, 0U);
      EXPECT_EQ(result.needed, full.bytes);
      EXPECT_EQ(little, std::vector<std::uint8_t>(room + 1, 0xCD));
    }
  }
}

TEST_F(OidTest, what_is_not_listed_is_not_supported) {
  std::uint8_t buffer[64] = {};
  for (const NDIS_OID oid : {0U, 0x01010101U, OID_GEN_PHYSICAL_MEDIUM, OID_PNP_CAPABILITIES, 0xFFFFFFFFU}) {
    EXPECT_EQ(adapter().query(oid, buffer, sizeof(buffer)).status, NDIS_STATUS_NOT_SUPPORTED) << std::hex << oid;
    EXPECT_EQ(adapter().set(oid, buffer, 4).status, NDIS_STATUS_NOT_SUPPORTED) << std::hex << oid;
  }
}

TEST_F(OidTest, a_tunnel_says_what_it_is) {
  EXPECT_EQ(query32(OID_GEN_MAXIMUM_FRAME_SIZE), 0xFFFFU);
  EXPECT_EQ(query32(OID_GEN_MAXIMUM_TOTAL_SIZE), 0xFFFFU);
  EXPECT_EQ(query32(OID_GEN_HARDWARE_STATUS), 0U);
  char vendor[64] = {};
  const kernel::OidResult result = adapter().query(OID_GEN_VENDOR_DESCRIPTION, vendor, sizeof(vendor));
  EXPECT_EQ(result.bytes, std::strlen(vendor) + 1);
}

TEST_F(OidTest, the_attributes_say_the_same) {
  std::size_t size = 0;
  const void* const bytes = adapter().attributes(size);
  NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES general = {};
  ASSERT_EQ(size, 224U);
  std::memcpy(&general, bytes, size);
  EXPECT_EQ(general.MediaType, 19);  // NdisMediumIP
  EXPECT_EQ(general.IfType, 53);
  EXPECT_EQ(general.XmitLinkSpeed, 100'000'000'000U);
  EXPECT_EQ(general.MediaConnectState, MediaConnectStateDisconnected);
  EXPECT_EQ(general.MtuSize, 0xFFFFU);
  EXPECT_EQ(general.MacAddressLength, 0);
}

TEST_F(OidTest, a_packet_filter_is_taken_in_its_exact_length_and_refused_with_what_is_not_known) {
  std::uint32_t value = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_BROADCAST;
  EXPECT_EQ(adapter().set(OID_GEN_CURRENT_PACKET_FILTER, &value, sizeof(value)).status, kSuccess);
  std::uint32_t unknown = 0x80000001;
  EXPECT_EQ(adapter().set(OID_GEN_CURRENT_PACKET_FILTER, &unknown, sizeof(unknown)).status,
            NDIS_STATUS_NOT_SUPPORTED);
  const std::uint8_t long_buffer[8] = {};
  for (const std::uint32_t bytes : {0U, 1U, 3U, 5U, 8U}) {
    const kernel::OidResult result = adapter().set(OID_GEN_CURRENT_PACKET_FILTER, long_buffer, bytes);
    EXPECT_EQ(result.status, NDIS_STATUS_INVALID_LENGTH) << bytes;
    EXPECT_EQ(result.bytes, 0U);
    EXPECT_EQ(result.needed, 4U);
  }
}

TEST_F(OidTest, what_ndis_keeps_itself_can_only_be_set) {
  std::uint32_t value = 1500;
  EXPECT_EQ(adapter().set(OID_GEN_CURRENT_LOOKAHEAD, &value, sizeof(value)).status, kSuccess);
  EXPECT_EQ(adapter().set(OID_GEN_CURRENT_LOOKAHEAD, &value, 2).status, NDIS_STATUS_INVALID_LENGTH);
  for (const NDIS_OID oid : {OID_GEN_CURRENT_LOOKAHEAD, OID_GEN_CURRENT_PACKET_FILTER, OID_PNP_SET_POWER}) {
    EXPECT_EQ(adapter().query(oid, &value, sizeof(value)).status, NDIS_STATUS_NOT_SUPPORTED) << std::hex << oid;
  }
}

TEST_F(OidTest, a_power_state_that_is_none_is_refused) {
  for (const std::uint32_t value : {0U, 5U, 6U, 0xFFFFFFFFU}) {
    EXPECT_EQ(adapter().set(OID_PNP_SET_POWER, &value, sizeof(value)).status, NDIS_STATUS_INVALID_DATA) << value;
  }
  EXPECT_EQ(adapter().set(OID_GEN_INTERRUPT_MODERATION, "............", 12).status, NDIS_STATUS_INVALID_DATA);
}

TEST_F(OidTest, statistics_count_packets_bytes_and_discards_of_each_direction) {
  adapter().send_packet(packet_of(100, 1));  // disconnected: a discard
  ProgramRings rings(program());
  ASSERT_EQ(enroll(open(), rings), kSuccess);
  adapter().send({{packet_of(40, 1), packet_of(60, 2)}});
  ASSERT_EQ(rings.receive(), packet_of(40, 1));
  ASSERT_EQ(rings.receive(), packet_of(60, 2));
  ASSERT_EQ(rings.send(packet_of(10, 1)), RingStatus::ok);  // no IP: a discard
  ASSERT_EQ(rings.send(packet_of(500, 2)), RingStatus::ok);
  ASSERT_TRUE(adapter().wait_received(1, kLong));
  const NDIS_STATISTICS_INFO info = statistics();
  EXPECT_EQ(info.Header.Size, 152);
  EXPECT_EQ(info.ifHCOutUcastPkts, 2U);
  EXPECT_EQ(info.ifHCOutOctets, 100U);
  EXPECT_EQ(info.ifOutDiscards, 1U);
  EXPECT_EQ(info.ifHCInUcastPkts, 1U);
  EXPECT_EQ(info.ifHCInOctets, 500U);
  EXPECT_EQ(info.ifInDiscards, 1U);
  std::uint64_t wide = 0;
  EXPECT_EQ(adapter().query(OID_GEN_XMIT_OK, &wide, sizeof(wide)).bytes, 8U);
  EXPECT_EQ(wide, 2U);
  std::uint32_t narrow = 0;
  const kernel::OidResult result = adapter().query(OID_GEN_XMIT_OK, &narrow, sizeof(narrow));
  EXPECT_EQ(result.bytes, 4U);
  EXPECT_EQ(result.needed, 8U);
  EXPECT_EQ(narrow, 2U);
}

}  // namespace
}  // namespace wintun::ndis_test
