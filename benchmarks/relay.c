/* relay: the floor.  A relay that does nothing but move datagrams, in one of three ways.
 *
 *     relay loop|batch|segment PAUSE GROUP PORT IN_ADDRESS OUT_ADDRESS DESTINATION:PORT ...
 *
 * loop     recv and sendto, one datagram a call
 * batch    recvmmsg and sendmmsg
 * segment  recvmmsg with UDP_GRO; to each destination all that came as trains (UDP_SEGMENT): as
 *          little as the kernel can be made to do
 *
 * PAUSE is how many microseconds it rests after a read that left nothing behind, so that more comes
 * together meanwhile; or 0.
 */
#include "datagram.h"

#define BATCH 64
#define SEGMENTS 64   /* in a train, as far as every kernel with UDP_SEGMENT takes it */
#define TRAIN 65507   /* bytes in one */
#define BUFFER (4 << 20)

static struct sockaddr_in *targets;
static int targetCount, in, out;

static void loop(void)
{
    static uint8_t data[LARGEST];
    for (;;) {
        ssize_t length = recv(in, data, sizeof data, 0);
        if (length < 0) fail("recv");
        for (int each = 0; each < targetCount; each++)
            sendto(out, data, (size_t)length, 0, (void *)&targets[each], sizeof targets[each]);
    }
}

static int segmentOf(struct mmsghdr *message)
{
    int size = (int)message->msg_len;
    struct msghdr *header = &message->msg_hdr;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each; each = CMSG_NXTHDR(header, each))
        if (each->cmsg_level == IPPROTO_UDP && each->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(each), sizeof size);
    return size;
}

/* Pieces of what was received that leave as one message; `control` makes a train of them. */
struct train {
    struct iovec *first;
    int pieces, bytes, segment, closed;
    char control[CMSG_SPACE(sizeof(uint16_t))];
};

/* Gather what was received, in order, into as few messages as can be; how many. */
static int gather(struct mmsghdr *received, struct iovec *pieces, int count, struct train *trains)
{
    int made = 0;
    for (int each = 0; each < count; each++) {
        int bytes = (int)received[each].msg_len, segment = segmentOf(&received[each]);
        struct train *train = made ? &trains[made - 1] : NULL;
        pieces[each].iov_len = (size_t)bytes;
        if (!train || train->closed || segment > train->segment || train->bytes + bytes > TRAIN
            || (train->bytes + bytes + train->segment - 1) / train->segment > SEGMENTS
            || (segment < train->segment && bytes > segment)) {
            train = &trains[made++];
            *train = (struct train){ .first = &pieces[each], .segment = segment };
        }
        train->pieces++;
        train->bytes += bytes;
        train->closed = !segment || bytes % train->segment != 0; /* only its last may be shorter */
    }
    return made;
}

static void addressTrain(struct mmsghdr *message, struct train *train, struct sockaddr_in *target)
{
    struct msghdr *header = &message->msg_hdr;
    *header = (struct msghdr){ .msg_name = target, .msg_namelen = sizeof *target,
                               .msg_iov = train->first, .msg_iovlen = (size_t)train->pieces };
    if (train->bytes <= train->segment) return;
    header->msg_control = train->control;
    header->msg_controllen = sizeof train->control;
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    uint16_t size = (uint16_t)train->segment;
    control->cmsg_level = IPPROTO_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(control), &size, sizeof size);
}

static void batches(int segmenting, int pause)
{
    size_t room = segmenting ? LARGEST : 2048;
    static struct mmsghdr received[BATCH];
    static struct iovec pieces[BATCH];
    static struct train trains[BATCH];
    static char controls[BATCH][64];
    uint8_t *data = malloc(room * BATCH);
    struct mmsghdr *sending = calloc((size_t)(BATCH * targetCount), sizeof *sending);
    if (!data || !sending) fail("malloc");
    if (segmenting) on(in, IPPROTO_UDP, UDP_GRO, "UDP_GRO");
    struct timespec rest = { 0, pause * 1000l };
    for (;;) {
        for (int slot = 0; slot < BATCH; slot++) {
            pieces[slot] = (struct iovec){ data + room * (size_t)slot, room };
            received[slot].msg_hdr = (struct msghdr){ .msg_iov = &pieces[slot], .msg_iovlen = 1 };
            if (segmenting) {
                received[slot].msg_hdr.msg_control = controls[slot];
                received[slot].msg_hdr.msg_controllen = sizeof controls[slot];
            }
        }
        int some = recvmmsg(in, received, BATCH, MSG_WAITFORONE, NULL), messages = 0;
        if (some < 0) fail("recvmmsg");
        if (segmenting) {
            int made = gather(received, pieces, some, trains);
            for (int target = 0; target < targetCount; target++)
                for (int each = 0; each < made; each++)
                    addressTrain(&sending[messages++], &trains[each], &targets[target]);
        } else {
            for (int each = 0; each < some; each++) {
                pieces[each].iov_len = received[each].msg_len;
                for (int target = 0; target < targetCount; target++)
                    sending[messages++].msg_hdr = (struct msghdr){
                        .msg_name = &targets[target], .msg_namelen = sizeof targets[target],
                        .msg_iov = &pieces[each], .msg_iovlen = 1 };
            }
        }
        for (int done = 0; done < messages;) {
            int gone = sendmmsg(out, sending + done, (unsigned)(messages - done), 0);
            done += gone > 0 ? gone : 1; /* one that cannot be sent is lost */
        }
        if (pause && some < BATCH) nanosleep(&rest, NULL);
    }
}

int main(int count, char **words)
{
    if (count < 8) {
        fprintf(stderr, "relay: an argument is missing; see relay.c\n");
        return 2;
    }
    const char *way = words[1];
    struct in_addr group = address(words[3]);
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr = group,
                                .sin_port = htons((uint16_t)atoi(words[4])) };
    targetCount = count - 7;
    targets = calloc((size_t)targetCount, sizeof *targets);
    if (!targets) fail("malloc");
    for (int each = 0; each < targetCount; each++) {
        char *word = words[7 + each], *colon = strchr(word, ':');
        if (!colon) return 2;
        *colon = 0;
        targets[each].sin_family = AF_INET;
        targets[each].sin_addr = address(word);
        targets[each].sin_port = htons((uint16_t)atoi(colon + 1));
    }
    prctl(PR_SET_TIMERSLACK, 1ul);
    in = socket(AF_INET, SOCK_DGRAM, 0);
    if (in < 0) fail("socket");
    on(in, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
    enlarge(in, SO_RCVBUF, SO_RCVBUF, BUFFER);
    if (bind(in, (void *)&here, sizeof here) < 0) fail("bind");
    join(in, group, address(words[5]));
    out = sender(address(words[6]));
    enlarge(out, SO_SNDBUF, SO_SNDBUF, BUFFER);
    if (!strcmp(way, "loop")) loop();
    batches(!strcmp(way, "segment"), atoi(words[2]));
    return 0;
}
