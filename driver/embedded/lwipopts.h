// How lwIP is built for us: no threads of its own, the raw interface, many interfaces, one lock around all of it
// (stack.hpp). Included by lwIP's own headers as C and by ours as C++; docs/stack.md says why each figure is so.
// lwIP's source is not in this tree: tools/fetch-lwip brings it.
#ifndef WINTUN_LWIPOPTS_H
#define WINTUN_LWIPOPTS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
struct pbuf;
struct netif;
struct ip_addr;
struct tcp_pcb;
struct tcp_hdr;
void wintun_lwip_assert_locked(void);
unsigned short wintun_lwip_checksum(const void* data, int size);
unsigned short wintun_lwip_copy(void* to, const void* from, unsigned short size);
int wintun_lwip_accept_ip4(struct pbuf* packet, struct netif* input);
int wintun_lwip_accept_ip6(struct pbuf* packet, struct netif* input);
unsigned int wintun_lwip_isn(const struct ip_addr* local, unsigned short local_port, const struct ip_addr* remote,
                             unsigned short remote_port);
unsigned int wintun_lwip_random(void);
int wintun_lwip_segment_came(struct tcp_pcb* pcb, const struct tcp_hdr* header, unsigned short options,
                             const struct pbuf* data);
void* wintun_lwip_malloc(size_t size);
void* wintun_lwip_calloc(size_t count, size_t size);
void wintun_lwip_free(void* memory);
#ifdef __cplusplus
}
#endif

// No system under it: our lock, our timers, our heap (blocks.hpp).
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TCPIP_CORE_LOCKING 0
#define LWIP_ASSERT_CORE_LOCKED() wintun_lwip_assert_locked()
#define MEM_ALIGNMENT 8
#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC wintun_lwip_malloc
#define MEM_CUSTOM_CALLOC wintun_lwip_calloc
#define MEM_CUSTOM_FREE wintun_lwip_free
#define MEMP_MEM_MALLOC 1
#define LWIP_STATS 0
#ifndef WINTUN_IDLE_BLOCK_BYTES
#define WINTUN_IDLE_BLOCK_BYTES 8388608
#endif

// Layer 3 links only: no frames, no neighbours, no automatic addresses.
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_ACD 0
#define LWIP_DNS 0
#define LWIP_IGMP 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_NUM_ADDRESSES 8
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_HAVE_LOOPIF 0
#define LWIP_SINGLE_NETIF 0
#define LWIP_NETIF_TX_SINGLE_PBUF 1
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_LINK_HLEN 0
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_REASS_MAX_PBUFS 128
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER 1  // its notes in a packet need more room than 64-bit pointers leave
#define LWIP_HOOK_IP4_INPUT(packet, input) wintun_lwip_accept_ip4(packet, input)
#define LWIP_HOOK_IP6_INPUT(packet, input) wintun_lwip_accept_ip6(packet, input)

// Datagrams and ping.
#define LWIP_UDP 1
#define LWIP_UDPLITE 0
#define LWIP_RAW 1
#define LWIP_MULTICAST_TX_OPTIONS 0

// TCP.
#define LWIP_TCP 1
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (4 * 1024 * 1024)
#define TCP_SND_BUF (4 * 1024 * 1024)
#define TCP_SND_QUEUELEN 65000
#define TCP_MSS 65475
#define TCP_OVERSIZE TCP_MSS
#define TCP_SNDLOWAT 1                    // of lwIP's own sockets, which we do not have,
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1  // and which set the limit for TCP_MSS that this check knows
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES TCP_WND
#define TCP_OOSEQ_MAX_PBUFS 8192
#define TCP_LISTEN_BACKLOG 1
#define SO_REUSE 1
#define TCP_TMR_INTERVAL 25
#define LWIP_TCP_RTO_TIME 1000
#define TCP_MSL 5000
#define TCP_FIN_WAIT_TIMEOUT 20000
#define TCP_SYN_RCVD_TIMEOUT 20000
#define LWIP_TCP_KEEPALIVE 0
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port) \
  wintun_lwip_isn(local, local_port, remote, remote_port)
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options, first_options, second, data) \
  wintun_lwip_segment_came(pcb, header, first_options, data)

// Sums in our words, made while the bytes are copied.
#define LWIP_CHKSUM wintun_lwip_checksum
#define LWIP_CHKSUM_COPY(to, from, size) wintun_lwip_copy(to, from, size)
#define LWIP_CHECKSUM_ON_COPY 1
#define TCP_CHECKSUM_ON_COPY_SANITY_CHECK 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1

#endif
