/* A CUDA driver whose device memory is host memory: the part of libcuda that our GPU code calls.
 *
 * It is strict rather than fast. A stream does no work until a caller waits for it. Device memory can be accessed only by a
 * stream's work, and is filled with NaN at first. A copy beyond an allocation is an illegal address, which stays with the
 * context. A call that CUDA forbids during a capture invalidates the capture. So a missing wait, a host pointer in place of a
 * device pointer, or a buffer that was freed too early gives an error or a crash here, not a number that happens to be right.
 *
 * Tests read counters (host_driver_count) and make calls fail (host_driver_fail).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_ISOLATION = 905 };
enum { COPY, SET, CALL };                 /* kinds of operation */
enum { HOST = 1, DEVICE = 2 };            /* places of memory */
enum { TO_DEVICE, TO_HOST, ON_DEVICE };   /* directions of a copy */
enum { PAGE = 4096 };

typedef int Result;
typedef unsigned long long Address;
typedef struct Operation {
    int kind, direction, value, owned;    /* owned: `from` is a staging copy of pageable memory */
    void *to, *from;
    size_t bytes;
    void (*call)(void *);
    struct Operation *next;
} Operation;
typedef struct { Operation *first, *last; int nodes; } List;
typedef struct { List work; List *captured; int invalidated, mode; } Stream;
typedef struct Allocation { char *address; size_t bytes; int place; struct Allocation *next; } Allocation;

static Allocation *allocations;
static Stream legacy;
static Stream *streams[256];
static Result context_error;              /* an illegal address: every later call returns it */
static int capturing, performing, retained, the_context;
static __thread void *stack[16];
static __thread int depth;
static struct { long launches, captures, uploads, downloads, moves, waits, host_bytes; } counts;
static long live_streams, live_graphs, live_executables, live_events;

/* --- interface of the tests --------------------------------------------------------------------------------------------- */

static struct { char name[64]; int after, times; Result result; } failing;

void host_driver_fail(const char *name, int after, int times, int result) {
    snprintf(failing.name, sizeof failing.name, "%s", name);
    failing.after = after, failing.times = times, failing.result = result;
}

static Result fails(const char *name) {
    if (strcmp(failing.name, name) || failing.after-- > 0 || failing.times-- <= 0) return OK;
    return failing.result;
}

static long live(int place) {
    long n = 0;
    for (Allocation *a = allocations; a; a = a->next) n += a->place == place;
    return n;
}

long host_driver_count(const char *name) {
    struct { const char *name; long value; } all[] = {
        {"launches", counts.launches}, {"captures", counts.captures}, {"uploads", counts.uploads},
        {"downloads", counts.downloads}, {"moves", counts.moves}, {"waits", counts.waits},
        {"device", live(DEVICE)}, {"pinned", live(HOST)}, {"streams", live_streams}, {"graphs", live_graphs},
        {"executables", live_executables}, {"events", live_events}, {"contexts", retained}, {"current", depth}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) return all[i].value;
    return -1;
}

#define MAY_FAIL { Result failure = fails(__func__); if (failure) return failure; }
#define NEEDS_CONTEXT { MAY_FAIL if (!depth) return INVALID_CONTEXT; if (context_error) return context_error; }

/* --- memory ------------------------------------------------------------------------------------------------------------- */

static void guard(void) {                 /* the host can access device memory only while a stream works */
    int protection = performing ? PROT_READ | PROT_WRITE : PROT_NONE;
    for (Allocation *a = allocations; a; a = a->next)
        if (a->place == DEVICE) mprotect(a->address, (a->bytes + PAGE - 1) / PAGE * PAGE, protection);
}

static int inside(const void *address, size_t bytes, int place) {
    for (Allocation *a = allocations; a; a = a->next)
        if (a->place == place && (const char *)address >= a->address && (const char *)address + bytes <= a->address + a->bytes)
            return 1;
    return 0;
}

static Result forbid_in_capture(void) {   /* for calls that CUDA forbids while a stream is captured */
    if (!capturing) return OK;
    for (int i = 0; i < 256; i++)
        if (streams[i] && streams[i]->captured) streams[i]->invalidated = 1;
    return CAPTURE_UNSUPPORTED;
}

static Result allocate(void **result, size_t bytes, int place) {
    if (forbid_in_capture()) return CAPTURE_UNSUPPORTED;
    if (!bytes) return INVALID_VALUE;
    size_t mapped = (bytes + PAGE - 1) / PAGE * PAGE;
    char *address = mmap(0, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) return OUT_OF_MEMORY;
    memset(address, 0xFF, mapped);        /* NaN as float, True as bool */
    Allocation *a = malloc(sizeof *a);
    *a = (Allocation){address, bytes, place, allocations};
    allocations = a;
    guard();
    *result = address;
    return OK;
}

static void wait_for_all(void);

static Result release(void *address, int place) {
    if (forbid_in_capture()) return CAPTURE_UNSUPPORTED;
    wait_for_all();
    for (Allocation **a = &allocations; *a; a = &(*a)->next)
        if ((*a)->address == address && (*a)->place == place) {
            Allocation *released = *a;
            *a = released->next;
            munmap(released->address, (released->bytes + PAGE - 1) / PAGE * PAGE);
            free(released);
            return OK;
        }
    return INVALID_VALUE;
}

Result cuMemAlloc_v2(Address *to, size_t bytes) { NEEDS_CONTEXT return allocate((void **)to, bytes, DEVICE); }
Result cuMemFree_v2(Address address) { NEEDS_CONTEXT return release((void *)address, DEVICE); }
Result cuMemHostAlloc(void **to, size_t bytes, unsigned flags) { NEEDS_CONTEXT return allocate(to, bytes, HOST); }
Result cuMemFreeHost(void *address) { NEEDS_CONTEXT return release(address, HOST); }
Result cuMemGetInfo_v2(size_t *available, size_t *total) { *available = *total = 1u << 30; return OK; }

/* --- streams ------------------------------------------------------------------------------------------------------------ */

static void append(List *list, Operation operation) {
    Operation *o = malloc(sizeof *o);
    *o = operation;
    o->next = 0;
    if (list->last) list->last->next = o; else list->first = o;
    list->last = o;
    list->nodes++;
}

static void clear(List *list) {
    for (Operation *o = list->first, *next; o; o = next) {
        next = o->next;
        if (o->owned) free(o->from);
        free(o);
    }
    *list = (List){0};
}

static void perform(Operation *o) {
    int to = o->kind == COPY && o->direction == TO_HOST ? 0 : DEVICE, from = o->direction == TO_DEVICE ? 0 : DEVICE;
    if (context_error) return;
    if (o->kind == CALL) { o->call(o->to); return; }
    if ((to && !inside(o->to, o->bytes, to)) || (o->kind == COPY && from && !inside(o->from, o->bytes, from)))
        context_error = ILLEGAL_ADDRESS;
    else if (o->kind == SET) memset(o->to, o->value, o->bytes);
    else {
        memcpy(o->to, o->from, o->bytes);
        ++*(o->direction == TO_DEVICE ? &counts.uploads : o->direction == TO_HOST ? &counts.downloads : &counts.moves);
    }
}

static Result wait(Stream *s) {
    if (s->captured) { s->invalidated = 1; return CAPTURE_UNSUPPORTED; }
    List work = s->work;
    s->work = (List){0};
    performing++;
    guard();
    for (Operation *o = work.first; o; o = o->next) perform(o);
    performing--;
    guard();
    clear(&work);
    counts.waits++;
    return context_error;
}

static void wait_for_all(void) {
    for (int i = 0; i < 256; i++)
        if (streams[i]) wait(streams[i]);
    wait(&legacy);
}

static Result enqueue(void *stream, Operation o) {
    Stream *s = stream ? stream : &legacy;
    if (s->captured) { if (s->invalidated) return CAPTURE_INVALIDATED; append(s->captured, o); return OK; }
    int pageable = o.kind == COPY && !inside(o.direction == TO_DEVICE ? o.from : o.to, o.bytes, HOST);
    if (pageable && o.direction == TO_DEVICE) {
        void *staged = malloc(o.bytes);
        o.from = memcpy(staged, o.from, o.bytes), o.owned = 1;
    }
    append(&s->work, o);
    return pageable && o.direction == TO_HOST ? wait(s) : OK;
}

Result cuStreamCreate(void **to, unsigned flags) {
    NEEDS_CONTEXT
    for (int i = 0; i < 256; i++)
        if (!streams[i]) { *to = streams[i] = calloc(1, sizeof(Stream)); live_streams++; return OK; }
    return OUT_OF_MEMORY;
}
Result cuStreamDestroy_v2(void *s) {
    for (int i = 0; i < 256; i++)
        if (s && streams[i] == s) { clear(&streams[i]->work); free(s); streams[i] = 0; live_streams--; return OK; }
    return INVALID_HANDLE;
}
Result cuStreamSynchronize(void *s) { NEEDS_CONTEXT return wait(s ? s : &legacy); }
Result cuStreamIsCapturing(void *s, int *status) { *status = s && ((Stream *)s)->captured ? 1 + ((Stream *)s)->invalidated : 0; return OK; }
Result cuCtxSynchronize(void) { NEEDS_CONTEXT if (forbid_in_capture()) return CAPTURE_UNSUPPORTED; wait_for_all(); return context_error; }

Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, void *s) {
    NEEDS_CONTEXT return enqueue(s, (Operation){COPY, TO_DEVICE, .to = (void *)to, .from = (void *)from, .bytes = n});
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, void *s) {
    NEEDS_CONTEXT return enqueue(s, (Operation){COPY, TO_HOST, .to = to, .from = (void *)from, .bytes = n});
}
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t n, void *s) {
    NEEDS_CONTEXT return enqueue(s, (Operation){COPY, ON_DEVICE, .to = (void *)to, .from = (void *)from, .bytes = n});
}
Result cuMemsetD8Async(Address to, unsigned char value, size_t n, void *s) {
    NEEDS_CONTEXT return enqueue(s, (Operation){SET, .value = value, .to = (void *)to, .bytes = n});
}
Result cuLaunchHostFunc(void *s, void (*call)(void *), void *argument) {
    MAY_FAIL return enqueue(s, (Operation){CALL, .to = argument, .call = call});
}

/* --- events: an event records its stream; waiting for it waits for all of that stream's work ---------------------------- */

Result cuEventCreate(void **to, unsigned flags) { NEEDS_CONTEXT *to = calloc(1, sizeof(void *)); live_events++; return OK; }
Result cuEventRecord(void *e, void *s) { *(void **)e = (uintptr_t)s > 2 ? s : &legacy; return OK; }
Result cuEventDestroy_v2(void *e) { free(e); live_events--; return OK; }
Result cuStreamWaitEvent(void *s, void *e, unsigned flags) {
    Stream *stream = s;
    if (stream && stream->captured) { stream->invalidated = 1; return CAPTURE_ISOLATION; }
    return *(void **)e ? wait(*(void **)e) : OK;
}

/* --- graphs ------------------------------------------------------------------------------------------------------------- */

Result cuStreamBeginCapture_v2(void *s, int mode) {
    MAY_FAIL
    Stream *stream = s;
    if (!stream || stream->captured) return CAPTURE_UNSUPPORTED;
    stream->captured = calloc(1, sizeof(List)), stream->invalidated = 0, stream->mode = mode, capturing++;
    return OK;
}
Result cuStreamEndCapture(void *s, void **graph) {
    Stream *stream = s;
    *graph = 0;
    if (!stream || !stream->captured) return INVALID_VALUE;
    Result failure = fails(__func__);
    List *captured = stream->captured;
    stream->captured = 0, capturing--;
    if (failure || stream->invalidated) { clear(captured); free(captured); return failure ? failure : CAPTURE_INVALIDATED; }
    *graph = captured, live_graphs++, counts.captures++;
    return OK;
}
Result cuGraphInstantiateWithFlags(void **to, void *graph, unsigned long long flags) {
    MAY_FAIL
    List *copy = calloc(1, sizeof(List));
    for (Operation *o = ((List *)graph)->first; o; o = o->next) append(copy, *o);
    *to = copy, live_executables++;
    return OK;
}
Result cuGraphLaunch(void *graph, void *s) {
    NEEDS_CONTEXT
    counts.launches++;
    for (Operation *o = ((List *)graph)->first; o; o = o->next) append(&((Stream *)s)->work, *o);
    return OK;
}
Result cuGraphExecDestroy(void *graph) { clear(graph); free(graph); live_executables--; return OK; }
Result cuGraphDestroy(void *graph) { clear(graph); free(graph); live_graphs--; return OK; }

/* --- device and context ------------------------------------------------------------------------------------------------- */

Result cuInit(unsigned flags) { MAY_FAIL return OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuDeviceGetCount(int *count) { *count = 1; return OK; }
Result cuDeviceGet(int *device, int ordinal) { MAY_FAIL *device = ordinal; return ordinal ? INVALID_DEVICE : OK; }
Result cuDeviceGetName(char *to, int n, int device) { snprintf(to, n, "host memory"); return OK; }
Result cuDeviceGetAttribute(int *to, int attribute, int device) { *to = attribute == 75 ? 8 : attribute == 76 ? 7 : 1; return OK; }
Result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1u << 30; return OK; }
Result cuDevicePrimaryCtxRetain(void **to, int device) { MAY_FAIL *to = &the_context; retained++; return OK; }
Result cuDevicePrimaryCtxRelease_v2(int device) { retained--; return OK; }
Result cuCtxPushCurrent_v2(void *context) { if (depth == 16) return OUT_OF_MEMORY; stack[depth++] = context; return OK; }
Result cuCtxPopCurrent_v2(void **to) { if (!depth) return INVALID_CONTEXT; depth--; if (to) *to = stack[depth]; return OK; }
Result cuCtxGetCurrent(void **to) { *to = depth ? stack[depth - 1] : 0; return OK; }
Result cuCtxSetCurrent(void *context) { if (!depth) depth = 1; stack[depth - 1] = context; return OK; }
Result cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : INVALID_CONTEXT; }
Result cuCtxGetApiVersion(void *context, unsigned *version) { *version = 13000; return OK; }

Result cuGetErrorName(Result result, const char **to) {
    *to = result == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : result == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
        : result == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : result == CAPTURE_UNSUPPORTED ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
        : result == CAPTURE_INVALIDATED ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" : result == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return OK;
}
Result cuGetErrorString(Result result, const char **to) { return cuGetErrorName(result, to); }
Result cuGetExportTable(const void **to, const void *id) { return NOT_FOUND; }

Result cuGetProcAddress_v2(const char *name, void **to, int version, uint64_t flags, int *status) {
    static void *self;
    static const char *suffixes[] = {"_v4", "_v3", "_v2", ""};
    char symbol[128];
    if (!self) {
        Dl_info info;
        dladdr((void *)cuInit, &info);
        self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    *to = 0;
    for (int i = 0; i < 4 && !*to; i++) {
        snprintf(symbol, sizeof symbol, "%s%s", name, suffixes[i]);
        *to = dlsym(self, symbol);
    }
    if (status) *status = !*to;
    return OK;
}
Result cuGetProcAddress(const char *name, void **to, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, to, version, flags, 0);
}
