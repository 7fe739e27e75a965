/* sink: counts and times what generator.c sent, and says so in a line of JSON at the end.
 *
 *     sink -p PORT [-g GROUP -i INTERFACE_ADDRESS] [-x RUN] [-d DESTINATIONS] [-t SECONDS]
 *          [-G] [-c DATAGRAMS] [-1]
 *
 * It prints READY once it is bound, and ends on SIGTERM or after so many SECONDS; with -1, as soon
 * as each destination got a datagram.  Destinations are told apart by the last byte of the address
 * that they were sent to, which counts from 1.
 *
 * -G takes trains whole (UDP_GRO), as they would leave a network card that cuts them up itself.
 * -c checks each byte, the order, and that each of so many datagrams comes once; otherwise only
 * the head of what comes is copied, so that counting stays cheap.
 *
 * It looks into its socket every 500 us instead of sleeping in it.  So no relay's send has to wake
 * it up, as none would if the datagram went to a network card; and the kernel notes when each came.
 */
#include "datagram.h"

#define BATCH 64
#define PAUSE (500 * 1000) /* nanoseconds */
#define MOST 256           /* destinations */
#define FINE 32            /* parts of each power of two in the histogram */

static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number; stopped = 1; }

static uint32_t run;
static uint64_t checked; /* how many datagrams a destination is to get, or 0: nothing is checked */
static uint64_t packets, damaged, duplicates, reordered, perDestination[MOST], expected[MOST];
static uint8_t *seen;

static uint64_t histogram[64 * FINE], latest;

static int bucket(uint64_t value)
{
    if (value < FINE) return (int)value;
    int power = 63 - __builtin_clzll(value);
    return (power - 4) * FINE + (int)((value >> (power - 5)) & (FINE - 1));
}

/* Microseconds that this part of all datagrams took at most. */
static double quantile(double part)
{
    uint64_t rank = (uint64_t)((double)packets * part), sum = 0;
    for (int at = 0; at < 64 * FINE; at++) {
        sum += histogram[at];
        if (sum <= rank) continue;
        if (at < FINE) return at / 1e3;
        int power = at / FINE + 4;
        double step = (double)(1ull << (power - 5));
        double value = (double)(1ull << power) + step * (at % FINE + 0.5);
        return (value < (double)latest ? value : (double)latest) / 1e3;
    }
    return 0;
}

static void check(const uint8_t *data, size_t length, const struct stamp *stamp, unsigned to)
{
    for (size_t at = sizeof *stamp; at < length; at++)
        if (data[at] != pattern(at)) {
            damaged++;
            break;
        }
    if (stamp->sequence >= checked) return;
    uint64_t bit = to * checked + stamp->sequence;
    if (seen[bit / 8] & 1u << bit % 8) duplicates++;
    else if (stamp->sequence < expected[to]) reordered++;
    else expected[to] = stamp->sequence + 1;
    seen[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static void account(const uint8_t *data, size_t length, size_t segment, unsigned to, uint64_t came)
{
    for (size_t at = 0; at < length; at += segment) {
        struct stamp stamp;
        /* unless all was copied, the first of a train speaks for the others */
        const uint8_t *head = checked ? data + at : data;
        size_t left = length - at < segment ? length - at : segment;
        if (left < sizeof stamp) continue;
        memcpy(&stamp, head, sizeof stamp);
        if (memcmp(stamp.packet, PACKET, sizeof PACKET) || stamp.run != run) continue;
        packets++;
        perDestination[to]++;
        uint64_t took = came > stamp.sent ? came - stamp.sent : 0;
        histogram[bucket(took)]++;
        if (took > latest) latest = took;
        if (checked) check(head, left, &stamp, to);
    }
}

int main(int count, char **words)
{
    struct in_addr group = { 0 }, by = { 0 };
    int port = 0, trains = 0, once = 0, letter;
    unsigned destinations = 1;
    double seconds = 10;
    while ((letter = getopt(count, words, "p:g:i:x:d:t:Gc:1")) != -1) switch (letter) {
        case 'p': port = atoi(optarg); break;
        case 'g': group = address(optarg); break;
        case 'i': by = address(optarg); break;
        case 'x': run = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'd': destinations = (unsigned)atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'G': trains = 1; break;
        case 'c': checked = strtoull(optarg, NULL, 10); break;
        case '1': once = 1; break;
        default: return 2;
        }
    if (!port || destinations < 1 || destinations >= MOST) return 2;
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGTERM, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1ul);

    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fail("socket");
    on(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF, 64 << 20);
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    if (bind(fd, (void *)&here, sizeof here) < 0) fail("bind");
    if (group.s_addr) join(fd, group, by);
    on(fd, IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO");
    on(fd, SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS");
    on(fd, SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL");
    if (trains) on(fd, IPPROTO_UDP, UDP_GRO, "UDP_GRO");

    size_t room = checked ? LARGEST : 64;
    static struct mmsghdr messages[BATCH];
    static struct iovec pieces[BATCH];
    static uint8_t controls[BATCH][256];
    uint8_t *data = malloc(room * BATCH);
    seen = calloc((checked * MOST + 7) / 8 + 1, 1);
    if (!data || !seen) fail("malloc");
    for (int slot = 0; slot < BATCH; slot++) {
        pieces[slot] = (struct iovec){ data + room * (size_t)slot, room };
        messages[slot].msg_hdr.msg_iov = &pieces[slot];
        messages[slot].msg_hdr.msg_iovlen = 1;
    }
    /* The kernel stamps with the time of day, the generator with a clock that nobody sets. */
    uint64_t before = nanoseconds(CLOCK_MONOTONIC), day = nanoseconds(CLOCK_REALTIME);
    uint64_t ahead = day - (before + nanoseconds(CLOCK_MONOTONIC)) / 2;
    puts("READY");
    fflush(stdout);

    uint64_t end = nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(seconds * NANO), first = 0, last = 0;
    uint32_t dropped = 0;
    for (;;) {
        int lastLook = stopped || nanoseconds(CLOCK_MONOTONIC) > end;
        for (int slot = 0; slot < BATCH; slot++) {
            messages[slot].msg_hdr.msg_control = controls[slot];
            messages[slot].msg_hdr.msg_controllen = sizeof controls[slot];
        }
        int some = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
        if (some < 0 && errno != EAGAIN && errno != EINTR) fail("recvmmsg");
        for (int slot = 0; slot < some; slot++) {
            struct msghdr *message = &messages[slot].msg_hdr;
            size_t length = messages[slot].msg_len, segment = length;
            uint64_t came = 0;
            unsigned to = 0;
            for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each;
                 each = CMSG_NXTHDR(message, each)) {
                if (each->cmsg_level == IPPROTO_UDP && each->cmsg_type == UDP_GRO) {
                    int size;
                    memcpy(&size, CMSG_DATA(each), sizeof size);
                    if (size > 0) segment = (size_t)size;
                } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
                    struct timespec t;
                    memcpy(&t, CMSG_DATA(each), sizeof t);
                    came = (uint64_t)t.tv_sec * NANO + (uint64_t)t.tv_nsec - ahead;
                } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_RXQ_OVFL) {
                    memcpy(&dropped, CMSG_DATA(each), sizeof dropped);
                } else if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO) {
                    struct in_pktinfo info;
                    memcpy(&info, CMSG_DATA(each), sizeof info);
                    to = (ntohl(info.ipi_addr.s_addr) - 1) & 0xff;
                }
            }
            uint64_t earlier = packets;
            account(pieces[slot].iov_base, length, segment, to, came);
            if (packets > earlier) {
                if (!first) first = came;
                last = came;
            }
        }
        if (once) {
            unsigned reached = 0;
            while (reached < destinations && perDestination[reached]) reached++;
            if (reached == destinations) break;
        }
        if (some > 0) continue;
        if (lastLook) break;
        struct timespec pause = { 0, PAUSE };
        nanosleep(&pause, NULL);
    }
    uint64_t fewest = UINT64_MAX;
    for (unsigned to = 0; to < destinations; to++)
        if (perDestination[to] < fewest) fewest = perDestination[to];
    printf("{\"packets\": %llu, \"fewest\": %llu, \"seconds\": %.6f, \"sinkDropped\": %u, "
           "\"damaged\": %llu, \"duplicates\": %llu, \"reordered\": %llu, "
           "\"latency50\": %.1f, \"latency99\": %.1f}\n",
           (unsigned long long)packets, (unsigned long long)fewest, (double)(last - first) / NANO,
           dropped, (unsigned long long)damaged, (unsigned long long)duplicates,
           (unsigned long long)reordered, quantile(0.5), quantile(0.99));
    return 0;
}
