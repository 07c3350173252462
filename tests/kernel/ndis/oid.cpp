// Requests to a miniport and what it says unasked. NDIS gives one request at a time, at PASSIVE_LEVEL. Public pages:
// MiniportOidRequest, NDIS_OID_REQUEST, NdisMIndicateStatusEx, NDIS_STATUS_LINK_STATE.
#include <cstring>
#include <utility>

#include "tests/kernel/ndis/ndis.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {
namespace {

// Behind the buffer that the miniport is given: it must not write there.
constexpr std::size_t kGuard = 16;

OidResult run(Adapter::Body& body, NDIS_OID_REQUEST& request) {
  std::uint64_t epoch = 0;
  if (!body.enter(epoch)) return {NDIS_STATUS_FAILURE, 0, 0};
  request.Header = {NDIS_OBJECT_TYPE_OID_REQUEST, NDIS_OID_REQUEST_REVISION_1, sizeof(request)};
  const NdisStatus status = body.driver->functions.OidRequestHandler(body.context, &request);
  expect_passive_after("MiniportOidRequest");
  body.leave(epoch);
  if (status == NDIS_STATUS_PENDING) violation("MiniportOidRequest pends: not modelled");
  const auto& query = request.DATA.QUERY_INFORMATION;  // set has its words in the same places
  return {status, query.BytesWritten, query.BytesNeeded};
}

}  // namespace

OidResult Adapter::query(std::uint32_t oid, void* buffer, std::uint32_t size) {
  Bytes copy(size + kGuard, 0xcd);
  NDIS_OID_REQUEST request{};
  request.RequestType = NdisRequestQueryInformation;
  request.DATA.QUERY_INFORMATION.Oid = oid;
  request.DATA.QUERY_INFORMATION.InformationBuffer = copy.data();
  request.DATA.QUERY_INFORMATION.InformationBufferLength = size;
  const OidResult result = run(*body_, request);
  if (result.bytes > size) violation("an OID query says that it wrote more than the buffer has");
  for (std::size_t i = size; i < copy.size(); ++i) {
    if (copy[i] != 0xcd) violation("an OID query wrote behind the buffer");
  }
  if (size > 0) std::memcpy(buffer, copy.data(), size);
  return result;
}

OidResult Adapter::set(std::uint32_t oid, const void* buffer, std::uint32_t size) {
  Bytes copy(size);
  if (size > 0) std::memcpy(copy.data(), buffer, size);
  NDIS_OID_REQUEST request{};
  request.RequestType = NdisRequestSetInformation;
  request.DATA.SET_INFORMATION.Oid = oid;
  request.DATA.SET_INFORMATION.InformationBuffer = copy.data();
  request.DATA.SET_INFORMATION.InformationBufferLength = size;
  const OidResult result = run(*body_, request);
  if (result.bytes > size) violation("an OID set says that it read more than the buffer has");
  return result;
}

bool Adapter::is_connected() const {
  const std::lock_guard locked(body_->lock);
  return body_->connected == MediaConnectStateConnected;
}

std::uint64_t Adapter::link_speed() const {
  const std::lock_guard locked(body_->lock);
  return body_->speed;
}

std::vector<Indication> Adapter::indications() {
  const std::lock_guard locked(body_->lock);
  return std::exchange(body_->indications, {});
}

const void* Adapter::attributes(std::size_t& size) const {
  size = body_->general.size();
  return body_->general.data();
}

std::vector<std::uint32_t> Adapter::supported_oids() const {
  return {body_->supported.begin(), body_->supported.end()};
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

VOID NTAPI NdisMIndicateStatusEx(NDIS_HANDLE handle, PNDIS_STATUS_INDICATION indication) {
  check_call(__func__, false);
  Adapter::Body& adapter = adapter_of(handle);
  if (indication->Header.Type != NDIS_OBJECT_TYPE_STATUS_INDICATION ||
      indication->Header.Size < NDIS_SIZEOF_STATUS_INDICATION_REVISION_1 || indication->SourceHandle != handle) {
    violation("NdisMIndicateStatusEx with a bad header, or another's handle");
    return;
  }
  const auto* const data = static_cast<const std::uint8_t*>(indication->StatusBuffer);
  if (adapter.life_now() == Life::halted) violation("NdisMIndicateStatusEx after MiniportHaltEx");
  const std::lock_guard locked(adapter.lock);
  adapter.indications.push_back({indication->StatusCode, Bytes(data, data + indication->StatusBufferSize)});
  if (indication->StatusCode != NDIS_STATUS_LINK_STATE) return;
  NDIS_LINK_STATE link{};
  if (indication->StatusBufferSize < NDIS_SIZEOF_LINK_STATE_REVISION_1) {
    violation("NDIS_STATUS_LINK_STATE with a short buffer");
    return;
  }
  std::memcpy(&link, data, NDIS_SIZEOF_LINK_STATE_REVISION_1);
  adapter.connected = link.MediaConnectState;
  adapter.speed = link.XmitLinkSpeed;
  adapter.changed.notify_all();
}

}  // extern "C"
