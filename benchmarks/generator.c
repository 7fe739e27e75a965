/* generator: sends stamped datagrams at a steady rate, and says what it sent in a line of JSON.
 *
 *     generator -a ADDRESS -p PORT -i INTERFACE_ADDRESS [-r PER_SECOND] [-t SECONDS] [-s SIZE]
 *               [-g TRAIN] [-c CHANNELS] [-x RUN]
 *
 * Every 200 us it sends what is due by then.  What it is late with it catches up on, but for what
 * is older than 5 ms: that is given up, and counted in `skipped`.  With -g, datagrams leave as
 * trains of so many (UDP_SEGMENT).  With -c they go to so many addresses in turn, from ADDRESS on.
 */
#include "datagram.h"

#define BATCH 64
#define TICK (200 * 1000) /* nanoseconds */
#define PATIENCE 0.005    /* seconds */

static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number; stopped = 1; }

static struct in_addr to, by;
static int port, size = 1316, train = 1, channels = 1;
static double rate = 1000, seconds = 1;
static uint32_t run;

static void options(int count, char **words)
{
    int letter;
    while ((letter = getopt(count, words, "a:p:i:r:t:s:g:c:x:")) != -1) switch (letter) {
        case 'a': to = address(optarg); break;
        case 'p': port = atoi(optarg); break;
        case 'i': by = address(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 's': size = atoi(optarg); break;
        case 'g': train = atoi(optarg); break;
        case 'c': channels = atoi(optarg); break;
        case 'x': run = (uint32_t)strtoul(optarg, NULL, 10); break;
        default: exit(2);
        }
    if (!port || rate <= 0 || train < 1 || train > BATCH || channels < 1
        || size < (int)sizeof(struct stamp) || size * train > 65507) {
        fprintf(stderr, "generator: an option is missing or wrong; see generator.c\n");
        exit(2);
    }
}

int main(int count, char **words)
{
    options(count, words);
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGTERM, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1ul);
    int fd = sender(by);
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF, 16 << 20);
    if (train > 1 && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) < 0)
        fail("UDP_SEGMENT");

    int slots = BATCH / train;
    size_t room = (size_t)size * (size_t)train;
    uint8_t *payload = malloc(room * (size_t)slots);
    struct mmsghdr *messages = calloc((size_t)slots, sizeof *messages);
    struct iovec *pieces = calloc((size_t)slots, sizeof *pieces);
    struct sockaddr_in *targets = calloc((size_t)channels, sizeof *targets);
    if (!payload || !messages || !pieces || !targets) fail("malloc");
    for (size_t at = 0; at < room * (size_t)slots; at++) payload[at] = pattern(at % (size_t)size);
    for (int each = 0; each < channels; each++) {
        targets[each].sin_family = AF_INET;
        targets[each].sin_port = htons((uint16_t)port);
        targets[each].sin_addr.s_addr = htonl(ntohl(to.s_addr) + (uint32_t)each);
    }
    for (int slot = 0; slot < slots; slot++) {
        pieces[slot] = (struct iovec){ payload + room * (size_t)slot, room };
        messages[slot].msg_hdr.msg_iov = &pieces[slot];
        messages[slot].msg_hdr.msg_iovlen = 1;
    }
    /* Always from one port, so that what comes before a measurement is no other sender's. */
    struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(4999) };
    if (bind(fd, (void *)&local, sizeof local) < 0) fail("bind");
    if (channels == 1 && connect(fd, (void *)targets, sizeof *targets) < 0) fail("connect");

    uint64_t start = nanoseconds(CLOCK_MONOTONIC), now = start, next = start, sent = 0, refused = 0;
    uint64_t end = start + (uint64_t)(seconds * NANO);
    double skipped = 0, patience = rate * PATIENCE > BATCH ? rate * PATIENCE : BATCH;
    for (; !stopped && now < end; now = nanoseconds(CLOCK_MONOTONIC)) {
        double due = (double)(now - start) / NANO * rate + train - skipped - (double)sent;
        if (due > patience) {
            skipped += due - patience;
            due = patience;
        }
        while (due >= train && !stopped) {
            int ready = 0;
            for (; ready < slots && due >= train; ready++, due -= train) {
                uint64_t first = sent + (uint64_t)(ready * train);
                uint64_t stamped = nanoseconds(CLOCK_MONOTONIC);
                for (int each = 0; each < train; each++) {
                    uint64_t sequence = (first + (uint64_t)each) / (uint64_t)channels;
                    struct stamp stamp = { { 0 }, run, sequence, stamped };
                    memcpy(stamp.packet, PACKET, sizeof PACKET);
                    uint8_t *at = (uint8_t *)pieces[ready].iov_base + (size_t)each * (size_t)size;
                    memcpy(at, &stamp, sizeof stamp);
                }
                if (channels > 1) {
                    messages[ready].msg_hdr.msg_name = &targets[first % (uint64_t)channels];
                    messages[ready].msg_hdr.msg_namelen = sizeof *targets;
                }
            }
            for (int done = 0; done < ready && !stopped;) {
                int some = sendmmsg(fd, messages + done, (unsigned)(ready - done), 0);
                if (some > 0) {
                    done += some;
                    sent += (uint64_t)(some * train);
                } else if (errno != EINTR && (errno != ENOBUFS || ++refused > 1000000)) {
                    fail("sendmmsg");
                }
            }
        }
        next += TICK;
        now = nanoseconds(CLOCK_MONOTONIC);
        if (next <= now) {
            next = now;
        } else {
            struct timespec until = { (time_t)(next / NANO), (long)(next % NANO) };
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
    }
    printf("{\"sent\": %llu, \"seconds\": %.6f, \"skipped\": %.0f}\n", (unsigned long long)sent,
           (double)(nanoseconds(CLOCK_MONOTONIC) - start) / NANO, skipped);
    return 0;
}
