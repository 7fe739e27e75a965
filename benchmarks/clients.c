/* clients: so many HTTP clients of one stream, in one loop; what came, in a line of JSON at the end.
 *
 *     clients -a ADDRESS -p PORT -u PATH [-n CLIENTS] [-x RUN] [-c] [-w] [-t SECONDS]
 *
 * It prints READY once every client has got something after the headers, or the number of those
 * that have after ten seconds.  From then on it counts the bytes of each.  The first client, or with
 * -c each of them, looks at every datagram of RUN: whether it is whole, and the next one.  The others'
 * bytes stay in the kernel (MSG_TRUNC), so that counting them costs little.  It looks every 2 ms, so
 * that no server pays for waking it; with -w it is woken by whatever comes.
 */
#include "datagram.h"
#include <fcntl.h>
#include <sys/epoll.h>

#define MOST 4096
#define SIZE 1316
#define PIECE (256 * 1024)

struct client {
    int fd, hasHead, headAt, isOver, hasBody, isAligned;
    uint64_t bytes, next, datagrams, missing, damaged;
    size_t part; /* of a datagram that has come */
    uint8_t datagram[SIZE];
};

static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number; stopped = 1; }

static struct client clients[MOST];
static uint8_t buffer[PIECE];
static uint32_t run;
static int everyone, isReady, isWoken;

static void look(struct client *one)
{
    struct stamp stamp;
    memcpy(&stamp, one->datagram, sizeof stamp);
    if (memcmp(stamp.packet, PACKET, sizeof PACKET)) { /* it may have begun within one */
        one->isAligned = 0;
        one->damaged += one->datagrams > 0;
        return;
    }
    for (size_t at = sizeof stamp; at < SIZE; at++)
        if (one->datagram[at] != pattern(at)) {
            one->damaged++;
            return;
        }
    if (stamp.run != run) return;
    if (stamp.sequence != one->next) one->missing += stamp.sequence - one->next;
    one->next = stamp.sequence + 1;
    one->datagrams++;
}

static void take(struct client *one, const uint8_t *data, size_t length)
{
    while (!one->hasHead && length) {
        static const char end[] = "\r\n\r\n";
        one->headAt = *data == (uint8_t)end[one->headAt] ? one->headAt + 1 : *data == '\r';
        one->hasHead = one->headAt == 4;
        data++, length--;
    }
    if (!length) return;
    one->hasBody = 1;
    if (isReady) one->bytes += length;
    while (length) {
        if (!one->isAligned) {
            const uint8_t *begin = memmem(data, length, PACKET, sizeof PACKET);
            if (!begin) return;
            length -= (size_t)(begin - data);
            data = begin;
            one->isAligned = 1;
        }
        size_t piece = SIZE - one->part < length ? SIZE - one->part : length;
        memcpy(one->datagram + one->part, data, piece);
        one->part += piece, data += piece, length -= piece;
        if (one->part < SIZE) break;
        look(one);
        one->part = 0;
    }
}

static void drain(struct client *one, int isChecked)
{
    for (;;) {
        int flags = MSG_DONTWAIT | (isChecked || !one->hasBody ? 0 : MSG_TRUNC);
        ssize_t got = recv(one->fd, buffer, PIECE, flags);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            one->isOver = 1;
            close(one->fd);
            return;
        }
        if (flags & MSG_TRUNC) one->bytes += isReady ? (uint64_t)got : 0;
        else take(one, buffer, (size_t)got);
        if (got < PIECE / 2) return;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    int option, count = 1;
    double seconds = 60;
    const char *path = "/";
    while ((option = getopt(argc, argv, "a:p:u:n:x:cwt:")) != -1) switch (option) {
        case 'a': to.sin_addr = address(optarg); break;
        case 'p': to.sin_port = htons((uint16_t)atoi(optarg)); break;
        case 'u': path = optarg; break;
        case 'n': count = atoi(optarg); break;
        case 'x': run = (uint32_t)atoi(optarg); break;
        case 'c': everyone = 1; break;
        case 'w': isWoken = 1; break;
        case 't': seconds = atof(optarg); break;
        default: return 2;
        }
    if (count < 1 || count > MOST) return 2;
    signal(SIGTERM, stop);
    prctl(PR_SET_TIMERSLACK, 1);
    int events = epoll_create1(0);
    char request[512];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: relay\r\n\r\n", path);
    for (int at = 0; at < count; at++) {
        int fd = clients[at].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        if (write(fd, request, (size_t)length) != length) fail("write");
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)at };
        epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
    }
    uint64_t begin = nanoseconds(CLOCK_MONOTONIC), end = begin + (uint64_t)(seconds * 1e9);
    while (!stopped && nanoseconds(CLOCK_MONOTONIC) < end) {
        struct epoll_event ready[256];
        int found = epoll_wait(events, ready, 256, 20);
        for (int at = 0; at < found; at++) {
            int index = (int)ready[at].data.u32;
            if (!clients[index].isOver) drain(&clients[index], everyone || index == 0);
        }
        if (!isReady) {
            int having = 0;
            for (int at = 0; at < count; at++) having += clients[at].hasBody;
            if (having == count || nanoseconds(CLOCK_MONOTONIC) > begin + 10 * NANO) {
                isReady = 1;
                printf("READY %d\n", having);
                fflush(stdout);
            }
        }
        struct timespec rest = { 0, 2 * 1000 * 1000 };
        if (!isWoken) nanosleep(&rest, NULL);
    }
    uint64_t total = 0, fewest = UINT64_MAX, missing = 0, damaged = 0, datagrams = UINT64_MAX;
    int over = 0;
    for (int at = 0; at < count; at++) {
        struct client *one = &clients[at];
        total += one->bytes;
        if (one->bytes < fewest) fewest = one->bytes;
        over += one->isOver;
        if (at && !everyone) continue;
        missing += one->missing;
        damaged += one->damaged;
        if (one->datagrams < datagrams) datagrams = one->datagrams;
    }
    printf("{\"bytes\": %llu, \"fewest\": %llu, \"over\": %d, \"missing\": %llu, \"damaged\": %llu, "
           "\"datagrams\": %llu}\n",
           (unsigned long long)total, (unsigned long long)fewest, over,
           (unsigned long long)missing, (unsigned long long)damaged,
           (unsigned long long)datagrams);
    return 0;
}
