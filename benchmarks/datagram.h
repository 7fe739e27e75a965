/* What generator.c puts into a datagram and sink.c looks for; and what all three programs need. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define LARGEST 65536 /* bytes; no datagram, and no train of them, is larger */
#define NANO 1000000000ull

/* The head of a datagram: that of an MPEG-TS packet, since some relays look for one, then ours. */
struct stamp {
    uint8_t packet[4];
    uint32_t run;      /* so that what is late from an earlier run is not counted in this one */
    uint64_t sequence; /* in its channel, from 0 */
    uint64_t sent;     /* nanoseconds of CLOCK_MONOTONIC */
};

static const uint8_t PACKET[4] = { 0x47, 0x1f, 0xff, 0x10 };

static inline uint8_t pattern(size_t at) { return at % 188 ? (uint8_t)(31 * at + 7) : 0x47; }

static inline uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NANO + (uint64_t)t.tv_nsec;
}

static inline void fail(const char *what)
{
    perror(what);
    exit(2);
}

static inline struct in_addr address(const char *text)
{
    struct in_addr parsed;
    if (!inet_aton(text, &parsed)) {
        fprintf(stderr, "%s is not an IPv4 address\n", text);
        exit(2);
    }
    return parsed;
}

static inline void on(int fd, int level, int option, const char *name)
{
    int one = 1;
    if (setsockopt(fd, level, option, &one, sizeof one) < 0) fail(name);
}

/* A buffer beyond net.core.rmem_max or wmem_max where we may, else as large as they let us. */
static inline void enlarge(int fd, int force, int plain, int bytes)
{
    if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

static inline void join(int fd, struct in_addr group, struct in_addr interface)
{
    struct ip_mreq request = { group, interface };
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) < 0)
        fail("IP_ADD_MEMBERSHIP");
}

/* A socket that sends multicast by the interface with this address, and hears none of it. */
static inline int sender(struct in_addr interface)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), ttl = 8, zero = 0;
    if (fd < 0) fail("socket");
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface) < 0)
        fail("IP_MULTICAST_IF");
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl);
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &zero, sizeof zero);
    return fd;
}
