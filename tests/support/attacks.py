"""What hostile metrics try. Each attack is the body of a `measure`; it sets `loot` if it got what it wanted.

`BITES` do so outside of the jail, in a throw-away process, so that the tests are known to be able to fail;
of the others each family says what must come of it. The names in capitals are filled in by `source`:

    CANARY  a file that must stay as it is         FOLDER  its folder, which must not change
    PARENT  the process that runs the tests        PORT, UNIX  where a listener waits for a call
    PICTURE, YAML, PICKLE  readable files          NR_…    numbers of system calls
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["ATTACKS", "BITES", "BOMBS", "EXITS", "FORGERIES", "LEAKS", "VALUES", "source"]

READS = {
    "open": "loot = open(CANARY).read()",
    "os-open": "loot = os.read(os.open(CANARY, os.O_RDONLY), 9)",
    "fileio": "import io\nloot = io.FileIO(CANARY).read()",
    "codecs": "import codecs\nloot = codecs.open(CANARY).read()",
    "pathlib": "import pathlib\nloot = pathlib.Path(CANARY).read_text()",
    "linecache": "import linecache\nloot = linecache.getlines(CANARY)",
    "tokenize": "import tokenize\nloot = tokenize.open(CANARY).read()",
    "fileinput": "import fileinput\nloot = list(fileinput.input([CANARY]))",
    "shutil": "import shutil\nloot = shutil.copy(CANARY, FOLDER + '/copy')",
    "sqlite": "import sqlite3\nloot = sqlite3.connect(FOLDER + '/base').execute('create table t (x)')",
    "runpy": "import runpy\nloot = runpy.run_path(CANARY) or True",
    "import-machinery": (
        "from importlib.machinery import SourceFileLoader as L\nloot = L('c', CANARY).get_data(CANARY)"
    ),
    "mmap": "import mmap\nloot = mmap.mmap(os.open(CANARY, os.O_RDONLY), 0, prot=mmap.PROT_READ)[:4]",
    "ctypes-open": "loot = ctypes.CDLL(None).open(CANARY.encode(), 0) >= 0",
    "ctypes-fopen": (
        "c = ctypes.CDLL(None)\nc.fopen.restype = ctypes.c_void_p\nloot = c.fopen(CANARY.encode(), b'r')"
    ),
    "syscall-openat": "loot = ctypes.CDLL(None).syscall(NR_OPENAT, -100, CANARY.encode(), 0) >= 0",
    "syscall-openat2": "loot = ctypes.CDLL(None).syscall(437, -100, CANARY.encode(), b'\\0' * 24, 24) >= 0",
    "syscall-name-to-handle": (
        "h, i = b'\\x80\\0\\0\\0' + b'\\0' * 150, b'\\0' * 8\n"
        "loot = ctypes.CDLL(None).syscall(NR_NAME_TO_HANDLE, -100, CANARY.encode(), h, i, 0) == 0"
    ),
    "stat": "loot = os.stat(CANARY).st_size",
    "access": "loot = os.access(CANARY, os.R_OK)",
    "statvfs": "loot = os.statvfs('/').f_bsize",
    "listdir": "loot = os.listdir(FOLDER)",
    "scandir": "loot = list(os.scandir(FOLDER))",
    "walk": "loot = list(os.walk(FOLDER))",
    "glob": "import glob\nloot = glob.glob(FOLDER + '/*')",
    "readlink": "loot = os.readlink('/proc/self/exe')",
    "getcwd": "loot = os.getcwd()",
    "passwd": "loot = open('/etc/passwd').read()",
    "pwd": "import pwd\nloot = pwd.getpwall()",
    "numpy-fromfile": "loot = len(np.fromfile(CANARY, np.uint8))",
    "numpy-memmap": "loot = len(np.memmap(CANARY, np.uint8, 'r'))",
    "numpy-loadtxt": "loot = np.loadtxt(CANARY, dtype=str).size",
    "numpy-genfromtxt": "loot = np.genfromtxt(CANARY, dtype=str).size",
    "numpy-load-pickle": "loot = np.load(PICKLE, allow_pickle=True).item()",
    "cv2-imread": "loot = cv2.imread(PICTURE) is not None",
    "cv2-imreadmulti": "loot = cv2.imreadmulti(PICTURE)[0]",
    "cv2-imcount": "loot = cv2.imcount(PICTURE)",
    "cv2-filestorage": "loot = cv2.FileStorage(YAML, cv2.FILE_STORAGE_READ).isOpened()",
}

WRITES = {
    "open-w": "loot = open(FOLDER + '/new', 'w')",
    "overwrite": "loot = open(CANARY, 'r+b').write(b'x')",
    "append": "loot = open(CANARY, 'ab')",
    "os-open-create": "loot = os.open(FOLDER + '/new', os.O_CREAT | os.O_WRONLY)",
    "truncate": "os.truncate(CANARY, 0)\nloot = True",
    "unlink": "os.unlink(CANARY)\nloot = True",
    "rename": "os.rename(CANARY, FOLDER + '/moved')\nloot = True",
    "mkdir": "os.mkdir(FOLDER + '/new')\nloot = True",
    "rmtree": "import shutil\nshutil.rmtree(FOLDER + '/sub')\nloot = True",
    "chmod": "os.chmod(CANARY, 0o777)\nloot = True",
    "utime": "os.utime(CANARY, (1, 1))\nloot = True",
    "symlink": "os.symlink(CANARY, FOLDER + '/new')\nloot = True",
    "hard-link": "os.link(CANARY, FOLDER + '/new')\nloot = True",
    "fifo": "os.mkfifo(FOLDER + '/new')\nloot = True",
    "xattr": "os.setxattr(CANARY, 'user.x', b'1')\nloot = True",
    "tempfile": "import tempfile\nloot = tempfile.mkstemp(dir=FOLDER)",
    "logging": "import logging\nloot = logging.FileHandler(FOLDER + '/log')",
    "shelve": "import shelve\nloot = shelve.open(FOLDER + '/shelf') is not None",
    "zipfile": "import zipfile\nloot = zipfile.ZipFile(FOLDER + '/z.zip', 'w')",
    "numpy-save": "np.save(FOLDER + '/new.npy', np.zeros(0))\nloot = True",
    "numpy-tofile": "np.zeros(0).tofile(FOLDER + '/new')\nloot = True",
    "numpy-savetxt": "np.savetxt(FOLDER + '/new', [])\nloot = True",
    "numpy-memmap-w": "loot = np.memmap(CANARY, np.uint8, 'r+') is not None",
    "cv2-imwrite": (
        "cv2.imwrite(FOLDER + '/new.png', sample.image)\nloot = os.path.exists(FOLDER + '/new.png')"
    ),
    "cv2-filestorage-w": "loot = cv2.FileStorage(FOLDER + '/new.yml', cv2.FILE_STORAGE_WRITE).isOpened()",
    "memfd": "loot = os.memfd_create('x')",
    "shared-memory": (
        "from multiprocessing import shared_memory as m\nloot = m.SharedMemory(create=True, size=9)"
    ),
    "dev-shm": "loot = open('/dev/shm/metricsmith-attack', 'w')",
    "tmp": "loot = open('/tmp/metricsmith-attack', 'w')",
    "chdir": "os.chdir('/tmp')\nloot = True",
}

PROCFS = {
    "own-environment": "loot = open('/proc/self/environ').read()",
    "parent-environment": "loot = open('/proc/PARENT/environ').read()",
    "parent-memory": "loot = open('/proc/PARENT/mem', 'rb')",
    "parent-command": "loot = open('/proc/PARENT/cmdline').read()",
    "parent-files": "loot = os.listdir('/proc/PARENT/fd')",
    "own-maps": "loot = open('/proc/self/maps').read()",
    "own-descriptors": "loot = os.listdir('/proc/self/fd')",
    "oom-score": "loot = open('/proc/self/oom_score_adj', 'w')",
    "all-processes": "loot = [p for p in os.listdir('/proc') if p.isdigit()]",
}

NETWORK = {
    "tcp": "import socket\nloot = socket.create_connection(('127.0.0.1', PORT))",
    "tcp-raw-socket-call": (
        "import socket\ns = socket.socket()\ns.connect(('127.0.0.1', PORT))\nloot = True"
    ),
    "unix": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(UNIX)\nloot = True",
    "udp": "import socket\nloot = socket.socket(2, 2).sendto(b'x', ('127.0.0.1', PORT))",
    "listen": "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nloot = True",
    "socketpair": "import socket\nloot = socket.socketpair()",
    "netlink": "import socket\nloot = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "abstract-unix": "import socket\ns = socket.socket(1)\ns.bind('\\0metricsmith-attack')\nloot = True",
    "urllib-file": "import urllib.request as u\nloot = u.urlopen('file://' + CANARY).read()",
    "http-client": "import http.client as h\nh.HTTPConnection('127.0.0.1', PORT).connect()\nloot = True",
    "ctypes-socket": "loot = ctypes.CDLL(None).socket(2, 1, 0) >= 0",
    "resolve": "import socket\nloot = socket.getaddrinfo('localhost', 80)",
    "host-name": "import socket\nloot = socket.gethostname()",
    "uname": "loot = os.uname()",
}

PROCESSES = {
    "fork": "if os.fork() == 0:\n    os._exit(0)\nloot = True",
    "forkpty": "pid, _ = os.forkpty()\nif pid == 0:\n    os._exit(0)\nloot = True",
    "vfork-and-exec": "import subprocess\nloot = subprocess.run(['/bin/true']).returncode == 0",
    "shell": "loot = os.system('true') == 0",
    "popen": "loot = os.popen('echo hello').read()",
    "posix-spawn": "loot = os.posix_spawn('/bin/true', ['true'], {})",
    "daemon": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(0.3)\n"
        "    os._exit(0)\nloot = True"
    ),
    "multiprocessing": (
        "import multiprocessing as m\np = m.get_context('fork').Process(target=int)\np.start()\nloot = True"
    ),
    "thread": "threading.Thread(target=int).start()\nloot = True",
    "raw-thread": "import _thread\n_thread.start_new_thread(int, ())\nloot = True",
    "thread-pool": (
        "from concurrent.futures import ThreadPoolExecutor as T\nloot = T(1).submit(bool, 1).result()"
    ),
    "asyncio": "import asyncio\nloot = asyncio.new_event_loop()",
    "signal-parent": "os.kill(PARENT, 0)\nloot = True",
    "signal-everyone": "os.kill(-1, 0)\nloot = True",
    "signal-zygote": "os.kill(os.getppid(), 0)\nloot = True",
    "signal-group": "os.killpg(0, 0)\nloot = True",
    "pidfd": "loot = os.pidfd_open(PARENT)",
    "pidfd-getfd": "loot = ctypes.CDLL(None).syscall(438, os.pidfd_open(os.getpid()), 0, 0) >= 0",
    "ptrace-traceme": "loot = ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
    "read-memory-of-another": (
        "b = ctypes.create_string_buffer(8)\nv = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8)\n"
        "loot = ctypes.CDLL(None).process_vm_readv(os.getpid(), v, 1, v, 1, 0) > 0"
    ),
    "limits-of-another": "import resource\nloot = resource.prlimit(PARENT, resource.RLIMIT_NOFILE)",
    "priority-of-another": "loot = os.getpriority(os.PRIO_PROCESS, PARENT) is not None",
    "affinity-of-another": "os.sched_setaffinity(PARENT, os.sched_getaffinity(0))\nloot = True",
    "parent-group": "loot = os.getpgid(PARENT)",
    "new-session": "os.setpgid(0, 0)\nloot = True",
    "own-priority": "os.nice(1)\nloot = True",
    "another-user": "loot = ctypes.CDLL(None).setresuid(-1, -1, -1) == 0",
    "user-namespace": "loot = ctypes.CDLL(None).unshare(0x10000000) == 0",
    "dumpable": "loot = ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0",
    "another-filter": "loot = ctypes.CDLL(None).syscall(NR_SECCOMP, 2, 0, b'\\0\\0\\xff\\x7f') == 0",
    "alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 100)\nloot = True",
    "timerfd": "loot = ctypes.CDLL(None).timerfd_create(1, 0) >= 0",
    "eventfd": "loot = os.eventfd(0)",
    "pipe": "loot = os.pipe()",
    "epoll": "import select\nloot = select.epoll()",
    "inotify": "loot = ctypes.CDLL(None).inotify_init() >= 0",
    "userfaultfd": "loot = ctypes.CDLL(None).syscall(NR_USERFAULTFD, 1) >= 0",
    "io-uring": "loot = ctypes.CDLL(None).syscall(425, 8, b'\\0' * 128) >= 0",
    "keyring": "loot = ctypes.CDLL(None).syscall(NR_KEYCTL, 0, -3, 1) != -1",
    "sysv-shared-memory": (
        "c = ctypes.CDLL(None)\ni = c.shmget(0, 4096, 0o1600)\nc.shmctl(i, 0, 0)\nloot = i >= 0"
    ),
    "executable-memory": (
        "import mmap\nloot = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)"
    ),
    "shellcode": (
        "import mmap\nm = mmap.mmap(-1, 4096)\na = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "loot = ctypes.CDLL(None).mprotect(ctypes.c_void_p(a), 4096, 7) == 0"
    ),
    "sleep": "time.sleep(0.001)\nloot = True",
}

BITES = {
    f"{family}/{name}": body
    for family, attacks in {
        "read": READS,
        "write": WRITES,
        "proc": PROCFS,
        "network": NETWORK,
        "process": PROCESSES,
    }.items()
    for name, body in attacks.items()
}
"""Outside of the jail each of these gets its loot."""

BOMBS = {
    "memory": "np.ones(1 << 40)",
    "memory-bit-by-bit": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))",
    "memory-of-text": "s = 'x' * (1 << 20)\nwhile True:\n    s += s",
    "memory-of-numbers": "10 ** (10 ** 10)",
    "memory-by-ctypes": (
        "c = ctypes.CDLL(None)\nc.calloc.restype = ctypes.c_void_p\n"
        "p = c.calloc(1, ctypes.c_size_t(1 << 36))\nif not p: raise MemoryError"
    ),
    "endless-loop": "while True:\n    pass",
    "endless-c-loop": "list(iter(int, 1))",
    "endless-regex": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "endless-read": "os.read(3, 1)",
    "endless-lock": "lock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "deep-recursion": "sys.setrecursionlimit(1 << 30)\n(lambda f: f(f))(lambda f: f(f))",
    "print-flood": "while True:\n    print('x' * 1000)",
    "print-flood-on-descriptor": "while True:\n    os.write(2, b'x' * 65536)",
    "descriptor-flood": "kept = []\nwhile True:\n    kept.append(os.dup(1))",
    "ignore-signals": (
        "import signal\nfor n in range(1, 65):\n    ctypes.CDLL(None).signal(n, 1)\nwhile True:\n    pass"
    ),
}
"""They end as a failure, in time, and the machine keeps its memory."""

EXITS = {
    "exit-0": "os._exit(0)",
    "exit-1": "os._exit(1)",
    "system-exit": "raise SystemExit(0)",
    "sys-exit": "sys.exit()",
    "keyboard-interrupt": "raise KeyboardInterrupt",
    "generator-exit": "raise GeneratorExit",
    "null-pointer": "ctypes.string_at(0)",
    "stack-smash": "ctypes.memset(id(sample), 0, 1 << 16)",
    "free-what-is-used": "ctypes.CDLL(None).free(ctypes.c_void_p(id(sample.image)))\nos._exit(0)",
    "close-everything": "os.closerange(0, 100)",
    "unwind": "raise type('E', (BaseException,), {'__str__': lambda s: 1 / 0})()",
}
"""They end as a failure, and nothing of what came before counts."""

FRAME = (
    "import struct\n"
    "frame = lambda k, n, body=b'': (struct.pack('<4sIQ', b'MSf1', k, n) + body).ljust(4096, b'\\0')\n"
)
FORGERIES = {
    "scores-unasked": FRAME + "os.write(4, frame(4, 1, struct.pack('<d', 9.0)))",
    "measured-twice": FRAME + "os.write(4, frame(3, 0, b'x' * 16))",
    "measured-ahead": FRAME + "[os.write(4, frame(3, n, b'x' * 16)) for n in range(500)]",
    "measured-out-of-order": FRAME + "os.write(4, frame(3, 7, b'x' * 16))",
    "loaded-again": FRAME + 'os.write(4, frame(2, 0, b\'{"name": "Other"}\'))',
    "ready-again": FRAME + 'os.write(4, frame(1, 0, b\'{"walls": "A"}\'))',
    "no-breaches": FRAME + 'os.write(4, frame(7, 0, b\'{"names": ""}\'))',
    "unknown-kind": FRAME + "os.write(4, frame(99, 0))",
    "failed-with-deep-json": FRAME + "os.write(4, frame(5, 0, b'[' * 4000))",
    "failed-with-other-types": FRAME + 'os.write(4, frame(5, 0, b\'{"kind": [], "message": {}}\'))',
    "failed-with-unknown-kind": FRAME
    + 'os.write(4, frame(5, 0, b\'{"kind": "x", "message": "", "line": 1}\'))',
    "garbage": "os.write(4, b'\\xff' * 4096)",
    "half-a-frame": "os.write(4, b'MSf1')\nos._exit(0)",
    "flood": "while True:\n    os.write(4, b'MSf1' * 1024)",
    "pickle": FRAME + "os.write(4, frame(5, 0, b'cos\\nsystem\\n(S\\'touch x\\'\\ntR.'))",
    "on-the-commands": "while True:\n    os.write(3, b'x' * 4096)",
}
"""They end as a failure and as no one else's; the parent believes nothing out of turn."""

VALUES = {
    "none": "return None",
    "text": "return '1.0'",
    "bytes": "return b'1'",
    "complex": "return 1j",
    "nan": "return float('nan')",
    "infinity": "return -np.inf",
    "truth": "return True",
    "list": "return [1.0]",
    "generator": "return (x for x in [1.0])",
    "function": "return lambda: 1.0",
    "module": "return os",
    "class": "return type",
    "two-numbers": "return np.array([1.0, 2.0])",
    "no-number": "return np.zeros(0)",
    "whole-image": "return sample.image",
    "objects": "return np.array([object()])",
    "records": "return np.zeros(1, [('a', 'f8')])",
    "dates": "return np.array(['2020-01-01'], 'M8[D]')",
    "huge-view": "return np.broadcast_to(np.float64(1), (1 << 40,))",
    "evil-float": "return type('F', (), {'__float__': lambda s: os._exit(0)})()",
    "evil-array": "return type('A', (), {'__array__': lambda s, *a, **k: os._exit(0)})()",
    "evil-class": "return type('C', (), {'__class__': property(lambda s: float)})()",
    "evil-repr": "return type('R', (), {'__repr__': lambda s: 'x' * (1 << 30)})()",
    "evil-name": "return type('N' * 100000, (), {})()",
    "lying-length": (
        "class L(np.ndarray):\n    shape = ()\n    def __len__(s): return 1\nreturn np.zeros((0, 3)).view(L)"
    ),
    "lying-float": "class F(float):\n    def __eq__(s, o): return True\nreturn F('nan')",
}
"""They end as a failure that says what is wrong in printable text."""

LEAKS = {
    "mean-of-numpy": "np.mean = np.ndarray.mean = None\nloot = 1",
    "numpy-itself": "sys.modules['numpy'].float64 = int",
    "cv2-itself": "cv2.cvtColor = cv2.Laplacian = lambda *a, **k: np.zeros((9, 9))",
    "builtins": "import builtins\nbuiltins.float = builtins.len = builtins.isinstance = lambda *a: 1",
    "modules": "sys.modules.clear()",
    "interface": "import metricsmith.sandbox as s\ns.Sample.image = property(lambda x: 1 / 0)",
    "hashes": (
        "import hashlib\nhashlib.blake2b = lambda *a, **k: type('H', (), {'digest': lambda s: b'0' * 16})()"
    ),
    "guest": (
        "import gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'Guest':\n        o._rows.clear()"
    ),
    "frames": "f = sys._getframe()\nwhile f:\n    f.f_globals.clear()\n    f = f.f_back",
    "trace": "sys.settrace(lambda *a: os._exit(0))",
    "exit-handler": "import atexit\natexit.register(lambda: os.write(4, b'x'))",
    "finalizer": "import weakref\nweakref.finalize(sample, os._exit, 0)",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() if 'Popen' in c.__name__][0](['true'])",
    "pixels": "sample.image.setflags(write=True)\nsample.image[:] = 0",
    "pixels-by-pointer": "ctypes.memset(sample.image.ctypes.data, 0, sample.image.nbytes)",
    "pixels-by-protect": (
        "a = sample.image.ctypes.data & ~4095\nr = ctypes.CDLL(None).mprotect(ctypes.c_void_p(a), 4096, 3)\n"
        "ctypes.memset(a, 0, 4096)"
    ),
    "random-state": "np.random.seed(os.getpid())",
    "error-state": "np.seterr(all='raise')\nnp.seterrcall(lambda *a: os._exit(0))",
    "threads-of-cv2": "cv2.setNumThreads(64)\ncv2.parallel.setParallelForBackend('x', True)",
    "recursion-limit": "sys.setrecursionlimit(30)",
}
"""Whatever becomes of them, the next metric and the images are as before."""

ATTACKS = {
    **BITES,
    **{
        f"{family}/{name}": body
        for family, attacks in {
            "bomb": BOMBS,
            "exit": EXITS,
            "forgery": FORGERIES,
            "value": VALUES,
            "leak": LEAKS,
        }.items()
        for name, body in attacks.items()
    },
}


def source(body: str, facts: Mapping[str, object]) -> str:
    """The metric that runs `body` in its `measure`; it raises BITTEN if there is loot."""
    for name, value in facts.items():
        # within a text ('/proc/PARENT/mem') as it is, elsewhere as Python writes it
        body = re.sub(rf"(?<=['/:]){name}\b", str(value), body)
        body = re.sub(rf"\b{name}\b", repr(value), body)
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return (
        "import cv2, ctypes, os, sys, threading, time\n"
        "import numpy as np\n"
        "from metricsmith.sandbox import Metric\n"
        "class M(Metric):\n"
        '    level = "image"\n'
        '    suspicious = "low"\n'
        "    def measure(self, sample):\n"
        "        loot = None\n"
        f"{lines}"
        "        if loot:\n"
        "            raise RuntimeError('BITTEN')\n"
        "        return float(sample.image.mean())\n"
    )
