"""Makes one mistake at a time in a copy of this tree, builds the one test program that a named test is in, and runs
that test, which must fail. docs/driver-mutations.md says what each mistake is; called by tools/mutate.

The copy is build/mutate/tree, made anew of what git has here (changed files as they are), its build stays from run to
run. Every test is run once before any mistake and must pass. A test that does not end counts as failed: some mistakes
make a thread wait for ever.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "mutate" / "tree"
BUILD = TREE / "build" / "dev"  # as deep as a preset's folder, so that the compiler's cache knows its files
LIST = "docs/driver-mutations.md"
TEST_LIMIT = 30.0  # seconds; each takes less than one


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    right: str  # stands once in the file
    wrong: str
    program: str
    test: str  # as --gtest_filter takes it


CORE, NDIS = "driver_core_test", "driver_ndis_test"

MUTATIONS = (
    Mutation(
        "no-barrier",
        "driver/core/state.hpp",
        "for (Lock& lock : locks_) typename Host::ExclusiveHold barrier(lock);",
        "",
        CORE,
        "Downward/StateModel.nothing_is_indicated_after_the_transition_returns_and_all_is_back/pause",
    ),
    Mutation(
        "one-barrier",
        "driver/core/state.hpp",
        "for (Lock& lock : locks_) typename Host::ExclusiveHold barrier(lock);",
        "typename Host::ExclusiveHold barrier(locks_[0]);",
        CORE,
        "Downward/StateModel.nothing_is_written_after_the_transition_returns/disconnect",
    ),
    Mutation(
        "light-sleep-is-none",
        "driver/core/state.hpp",
        "if (power != Power::d0) settle(queues...);",
        "if (power == Power::d3) settle(queues...);",
        CORE,
        "Downward/StateModel.no_packet_is_given_after_the_transition_returns/d1",
    ),
    Mutation(
        "fill-after-pause",
        "driver/core/to_network.hpp",
        "const bool admitted = admission == Outcome::delivered;\n    uint32_t moved = 0;\n    RingStatus status",
        "const bool admitted = true;\n    uint32_t moved = 0;\n    RingStatus status",
        CORE,
        "Downward/StateModel.nothing_is_indicated_after_the_transition_returns_and_all_is_back/pause",
    ),
    Mutation(
        "release-before-all-are-back",
        "driver/core/to_network.hpp",
        "while (!is_empty()) host_.let_others_run();",
        "",
        NDIS,
        "LifecycleTest.pause_waits_for_the_packets_that_the_stack_has",
    ),
    Mutation(
        "two-complete-at-once",
        "driver/core/to_user.hpp",
        "if (completing_ && !mine) return;",
        "(void)mine;",
        CORE,
        "ToUserTest.a_packet_that_finishes_during_a_completion_is_completed_after_it",
    ),
    Mutation(
        "weak-tail",
        "src/ring/atomics.h",
        "kPublishTailOrder = __ATOMIC_SEQ_CST;",
        "kPublishTailOrder = __ATOMIC_RELEASE;",
        "ring_model_test",
        "Events/Protocol.no_wake_up_is_lost_and_no_packet_unseen/*",
    ),
    Mutation(
        "size-not-checked",
        "src/ring/consumer.hpp",
        "size > kMaxPacketSize || slot_bytes(size) > content",
        "size > kMaxPacketSize || slot_bytes(size) > content + capacity_",
        CORE,
        "ToNetworkTest.a_size_past_the_tail_ends_the_ring_without_a_packet",
    ),
    Mutation(
        "complete-twice",
        "driver/ndis/packets.cpp",
        "__atomic_sub_fetch(&outstanding(list), 1, __ATOMIC_ACQ_REL) == 0;",
        "__atomic_sub_fetch(&outstanding(list), 1, __ATOMIC_ACQ_REL) <= 1;",
        NDIS,
        "EndToEndTest.packets_in_many_pieces_and_with_room_in_front_arrive_whole",
    ),
    Mutation(
        "wrong-status",
        "driver/ndis/packets.cpp",
        "NDIS_STATUS_SUCCESS, NDIS_STATUS_RESOURCES,",
        "NDIS_STATUS_SUCCESS, NDIS_STATUS_SUCCESS,",
        NDIS,
        "EndToEndTest.a_full_ring_drops_with_a_status_and_counts",
    ),
    Mutation(
        "mapping-not-asked",
        "driver/ndis/packets.cpp",
        "if (system_address(mdl) == nullptr) return false;",
        "",
        NDIS,
        "FaultTest.a_session_with_rings_from_loading_to_unloading",
    ),
    Mutation(
        "no-probe",
        "driver/ndis/control.cpp",
        "MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);",
        "MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);",
        NDIS,
        "RegistrationTest.of_memory_that_is_not_the_programs_is_refused",
    ),
    Mutation(
        "read-only-is-enough",
        "driver/ndis/control.cpp",
        "MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);",
        "MmProbeAndLockPages(mdl, UserMode, IoReadAccess);",
        NDIS,
        "RegistrationTest.of_memory_that_cannot_be_written_is_refused",
    ),
    Mutation(
        "no-unlock",
        "driver/ndis/control.cpp",
        "  MmUnlockPages(ring.mdl);",
        "",
        NDIS,
        "RegistrationTest.raises_the_link_and_closing_lowers_it",
    ),
    Mutation(
        "event-not-dereferenced",
        "driver/ndis/control.cpp",
        "if (ring.moved != nullptr) ObDereferenceObject(ring.moved);",
        "",
        NDIS,
        "RegistrationTest.raises_the_link_and_closing_lowers_it",
    ),
    Mutation(
        "thread-handle-left-open",
        "driver/ndis/adapter.cpp",
        "  ZwClose(thread);\n",
        "",
        NDIS,
        "RegistrationTest.raises_the_link_and_closing_lowers_it",
    ),
    Mutation(
        "second-owner-let-in",
        "driver/ndis/bundles.cpp",
        "if (adapter.host.rings.bundles == nullptr) return STATUS_ALREADY_INITIALIZED;",
        "",
        NDIS,
        "BundlesTest.the_other_kind_of_owner_is_refused_until_the_first_has_gone",
    ),
    Mutation(
        "process-end-missed",
        "driver/ndis/driver.cpp",
        "if (adapter->owner_process == process) adapter->end_session();",
        "(void)process;",
        NDIS,
        "RegistrationTest.ends_with_the_process_even_if_another_has_its_handle",
    ),
    Mutation(
        "lost-cancel",
        "driver/ndis/control.cpp",
        "  complete_reads(adapter.reads, file.file, STATUS_CANCELLED);\n",
        "",
        NDIS,
        "BundlesTest.reads_that_pend_when_their_file_is_closed_are_cancelled",
    ),
    Mutation(
        "packet-not-looked-for",
        "driver/ndis/bundles.cpp",
        "  adapter.host.rings.bundles->complete_reads();\n",
        "",
        NDIS,
        "BundlesTest.a_read_takes_all_that_wait_up_to_256",
    ),
    Mutation(
        "reads-257",
        "driver/ndis/bundles.cpp",
        "packets < kMaxBundlePackets &&",
        "packets <= kMaxBundlePackets &&",
        NDIS,
        "BundlesTest.a_read_takes_all_that_wait_up_to_256",
    ),
    Mutation(
        "writes-255",
        "driver/ndis/bundles.cpp",
        "++packets > kMaxBundlePackets",
        "++packets >= kMaxBundlePackets",
        NDIS,
        "BundlesTest.the_largest_bundle_is_taken_whole",
    ),
    Mutation(
        "ends-anothers-session",
        "driver/ndis/control.cpp",
        " && adapter.host.rings.bundles != nullptr;",
        ";",
        NDIS,
        "FaultTest.a_file_that_outlives_its_session_counts_once_in_the_next",
    ),
    Mutation(
        "exact-length-too-short",
        "driver/ndis/oid.cpp",
        "if (query.InformationBufferLength < sizeof(value))",
        "if (query.InformationBufferLength <= sizeof(value))",
        NDIS,
        "OidTest.every_query_that_is_listed_is_answered_in_its_exact_length_and_refused_in_less",
    ),
)


@dataclass(frozen=True)
class Result:
    mutation: Mutation
    caught: bool
    how: str
    seconds: float


class Problem(Exception):
    """Nothing can be said of the mistakes."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def command(*words: str) -> str:
    """What it printed; a Problem if it failed."""
    # The cache of the compiler takes files of a copy for the ones that it has seen.
    environment = {**os.environ, "CCACHE_BASEDIR": str(TREE), "CCACHE_NOHASHDIR": "1"}
    answer = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=False, env=environment)
    if answer.returncode:
        raise Problem(f"{' '.join(words)} ended with {answer.returncode}\n{(answer.stdout + answer.stderr)[-3000:]}")
    return answer.stdout


def copy_tree() -> None:
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    wanted = {name for name in names if name and (ROOT / name).is_file()}
    for old in [path for path in TREE.rglob("*") if path.is_file() and not path.is_relative_to(TREE / "build")]:
        if str(old.relative_to(TREE)) not in wanted:
            old.unlink()
    for name in sorted(wanted):
        put(TREE / name, (ROOT / name).read_bytes())
        shutil.copymode(ROOT / name, TREE / name)


def put(path: Path, content: bytes) -> None:
    """Only what differs is written, so that only that is built again."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def build(programs: list[str], jobs: int) -> None:
    command("cmake", "--build", str(BUILD), "-j", str(jobs), "--target", *programs)


def run_test(mutation: Mutation) -> tuple[bool, str]:
    """Whether it passed, and what its end was. A filter that finds no test passes, which the first run finds out."""
    program = next((path for path in BUILD.rglob(mutation.program) if path.is_file()), None)
    if program is None:
        raise Problem(f"{mutation.program} was not built")
    process = subprocess.Popen(
        [str(program), f"--gtest_filter={mutation.test}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TEST_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False, f"no end in {TEST_LIMIT:.0f} s"
    if process.returncode < 0:
        return False, signal.Signals(-process.returncode).name
    if process.returncode:
        return False, "failed"
    return "[  PASSED  ] 0 tests" not in output, "passed"


def try_one(mutation: Mutation, jobs: int) -> Result:
    start = time.monotonic()
    path = TREE / mutation.file
    right = path.read_bytes()
    path.write_bytes(right.replace(mutation.right.encode(), mutation.wrong.encode()))
    try:
        build([mutation.program], jobs)
        passed, how = run_test(mutation)
    except Problem as problem:
        passed, how = True, f"was not tried: {problem}"
    finally:
        path.write_bytes(right)
    return Result(mutation, not passed, how, time.monotonic() - start)


def check(mutations: list[Mutation]) -> None:
    listed = (ROOT / LIST).read_text()
    for mutation in mutations:
        if (ROOT / mutation.file).read_text().count(mutation.right) != 1:
            raise Problem(f"{mutation.name}: what it changes stands not exactly once in {mutation.file}")
        for word in (mutation.name, mutation.test.partition("/*")[0]):
            if f"`{word}`" not in listed:
                raise Problem(f"{LIST} does not list {word}")


def prepare(mutations: list[Mutation], jobs: int) -> None:
    say(f"copying to {TREE.relative_to(ROOT)} and building")
    copy_tree()
    command(
        "cmake", "-S", str(TREE), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DWINTUN_EMBEDDED=OFF"
    )
    build(sorted({mutation.program for mutation in mutations}), jobs)
    for mutation in mutations:
        passed, how = run_test(mutation)
        if not passed:
            raise Problem(f"{mutation.test} does not pass without a mistake: {how}")


def report(results: list[Result], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": r.mutation.name,
                "file": r.mutation.file,
                "test": r.mutation.test,
                "caught": r.caught,
                "how": r.how,
                "seconds": round(r.seconds, 1),
            }
            for r in results
        ]
        print(json.dumps(rows, indent=2))
        return
    print(f"{'mistake':<30}{'in':<30}{'the test':<10}{'s':>5}  test")
    for r in results:
        verdict = r.how if r.caught else "NOT CAUGHT"
        print(f"{r.mutation.name:<30}{r.mutation.file:<30}{verdict:<10}{r.seconds:>5.0f}  {r.mutation.test}")
        if not r.caught:
            print(f"  {r.how}")
    print(f"{sum(r.caught for r in results)} of {len(results)} caught")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/mutate", description="Makes mistakes, and shows that tests catch them."
    )
    parser.add_argument("--list", action="store_true", help="see that each can still be made, show them and stop")
    parser.add_argument("--only", action="append", metavar="NAME", help="make this one (may be given again)")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at once (2)")
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    arguments = parser.parse_args()
    mutations = [m for m in MUTATIONS if not arguments.only or m.name in arguments.only]
    if not mutations:
        say(f"there is no such mistake; `--list` shows {len(MUTATIONS)}")
        return 2
    try:
        check(mutations)
        if arguments.list:
            for mutation in mutations:
                print(f"{mutation.name:<30}{mutation.test}")
            return 0
        prepare(mutations, arguments.jobs)
    except Problem as problem:
        say(str(problem))
        return 2
    results = []
    for mutation in mutations:
        results.append(try_one(mutation, arguments.jobs))
        say(f"{mutation.name}: {results[-1].how}{'' if results[-1].caught else ' - NOT CAUGHT'}")
    report(results, arguments.json)
    return 0 if all(r.caught for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
