// The kernel's checks of levels, locks, pool, MDLs and handles: each finds the mistake that it is there for.
#include <thread>

#include "tests/kernel/expect.hpp"

namespace wintun::kernel {
namespace {

PVOID pool(SIZE_T bytes, POOL_TYPE type = NonPagedPoolNx) { return ExAllocatePoolWithTag(type, bytes, kTag); }

TEST(KernelChecker, waiting_at_dispatch_level_is_a_violation) {
  Kernel kernel;
  KEVENT event;
  KeInitializeEvent(&event, NotificationEvent, TRUE);
  expect_violation("KeWaitForSingleObject called at IRQL 2", [&] {
    const AtDispatch raised;
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, nullptr);
  });
  LARGE_INTEGER none;
  none.QuadPart = 0;
  const AtDispatch raised;
  EXPECT_EQ(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &none), STATUS_SUCCESS);
  EXPECT_EQ(take_violations(), "");
}

TEST(KernelChecker, a_pageable_call_at_dispatch_level_is_a_violation) {
  Kernel kernel;
  expect_violation("ZwClose called at IRQL 2", [] {
    const AtDispatch raised;
    ZwClose(reinterpret_cast<HANDLE>(4));
  });
  expect_violation("ExAllocatePoolWithTag called at IRQL 2", [] {
    PVOID memory = nullptr;
    {
      const AtDispatch raised;
      memory = pool(8, PagedPool);
    }
    ExFreePoolWithTag(memory, kTag);
  });
}

TEST(KernelChecker, an_event_that_was_not_initialized_is_a_violation) {
  Kernel kernel;
  KEVENT event{};
  expect_violation("not initialized", [&] { KeSetEvent(&event, 0, FALSE); });
  expect_violation("not initialized", [&] { KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, nullptr); });
}

TEST(KernelChecker, a_lock_released_by_a_thread_without_it_is_a_violation) {
  Kernel kernel;
  KSPIN_LOCK lock = 0;
  expect_violation("does not hold that lock", [&] {
    const AtDispatch raised;
    KeReleaseSpinLockFromDpcLevel(&lock);
  });
}

TEST(KernelChecker, two_locks_taken_in_both_orders_are_a_violation) {
  Kernel kernel;
  KSPIN_LOCK first = 0, second = 0;
  const auto both = [](KSPIN_LOCK& one, KSPIN_LOCK& other) {
    const KIRQL before = KeAcquireSpinLockRaiseToDpc(&one);
    KeAcquireSpinLockAtDpcLevel(&other);
    KeReleaseSpinLockFromDpcLevel(&other);
    KeReleaseSpinLock(&one, before);
  };
  both(first, second);
  both(first, second);
  expect_violation("in both orders", [&] { both(second, first); });
}

TEST(KernelChecker, a_spin_lock_excludes_other_threads) {
  Kernel kernel;
  KSPIN_LOCK lock = 0;
  int count = 0;
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const KIRQL before = KeAcquireSpinLockRaiseToDpc(&lock);
      ++count;
      KeReleaseSpinLock(&lock, before);
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(count, 4000);
  EXPECT_EQ(take_violations(), "");
}

TEST(KernelChecker, a_thread_that_takes_its_spin_lock_again_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Kernel kernel;
        KSPIN_LOCK lock = 0;
        KeAcquireSpinLockRaiseToDpc(&lock);
        KeAcquireSpinLockAtDpcLevel(&lock);
      },
      "deadlock with itself");
}

TEST(KernelChecker, violations_that_nobody_takes_end_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Kernel kernel;
        (void)pool(8);
      },
      "pool memory left, taken by ExAllocatePoolWithTag");
}

TEST(KernelChecker, pool_freed_twice_or_with_another_tag_is_a_violation) {
  Kernel kernel;
  PVOID memory = pool(100);
  expect_violation("with tag", [&] { ExFreePoolWithTag(memory, kTag + 1); });
  expect_violation("freed already", [&] { ExFreePoolWithTag(memory, kTag); });
  expect_violation("without a tag", [] { EXPECT_EQ(ExAllocatePoolWithTag(NonPagedPoolNx, 8, 0), nullptr); });
}

TEST(KernelChecker, pool_of_a_page_begins_on_a_page) {
  Kernel kernel;
  PVOID memory = pool(PAGE_SIZE);
  EXPECT_EQ(BYTE_OFFSET(memory), 0u);
  ExFreePoolWithTag(memory, kTag);
}

TEST(KernelChecker, locked_and_mapped_pages_are_counted_until_they_are_unlocked) {
  Kernel kernel;
  Process program;
  const InProcess inside(program);
  std::uint8_t* const memory = program.allocate(PAGE_SIZE);
  const PMDL mdl = IoAllocateMdl(memory, PAGE_SIZE, FALSE, FALSE, nullptr);
  expect_violation("not locked", [&] { MmUnlockPages(mdl); });
  expect_violation("not locked", [&] { MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority); });
  MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
  EXPECT_EQ(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority), memory);
  EXPECT_EQ(outstanding(), 3u);  // the MDL, its lock and its mapping
  program.free(memory);
  memory[0] = 1;  // the pages stay
  MmUnlockPages(mdl);
  EXPECT_EQ(outstanding(), 1u);
  IoFreeMdl(mdl);
  expect_violation("no MDL", [&] { IoFreeMdl(mdl); });
}

TEST(KernelChecker, an_mdl_freed_with_locked_pages_is_a_violation) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Kernel kernel;
        Process program;
        const InProcess inside(program);
        const PMDL mdl = IoAllocateMdl(program.allocate(PAGE_SIZE), PAGE_SIZE, FALSE, FALSE, nullptr);
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        IoFreeMdl(mdl);
      },
      "IoFreeMdl of locked pages");
}

TEST(KernelChecker, memory_of_a_program_that_cannot_be_written_raises) {
  Kernel kernel;
  Process program;
  const InProcess inside(program);
  std::uint8_t* const memory = program.allocate(4 * PAGE_SIZE, Access::read);
  const auto status_of = [](void* address, ULONG bytes) {
    const PMDL mdl = IoAllocateMdl(address, bytes, FALSE, FALSE, nullptr);
    WdkTryFrame frame;
    NTSTATUS status = STATUS_SUCCESS;
    if (_setjmp(frame.target) == 0) {
      MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
      MmUnlockPages(mdl);
      IoFreeMdl(mdl);
      return STATUS_SUCCESS;
    }
    status = frame.status;
    IoFreeMdl(mdl);
    return status;
  };
  EXPECT_EQ(status_of(memory, 100), STATUS_ACCESS_VIOLATION);
  program.protect(memory, Access::read_write);
  EXPECT_EQ(status_of(memory, 100), STATUS_SUCCESS);
  EXPECT_EQ(status_of(memory + 3 * PAGE_SIZE, PAGE_SIZE + 1), STATUS_ACCESS_VIOLATION);
  EXPECT_EQ(status_of(&kernel, 1), STATUS_ACCESS_VIOLATION);
  EXPECT_EQ(take_violations(), "");
}

TEST(KernelChecker, a_programs_handle_taken_in_kernel_mode_is_a_violation) {
  Kernel kernel;
  Process program;
  const InProcess inside(program);
  const HANDLE event = program.create_event();
  PVOID object = nullptr;
  expect_violation("trusts a program's handle", [&] {
    ObReferenceObjectByHandle(event, EVENT_MODIFY_STATE, *ExEventObjectType, KernelMode, &object, nullptr);
  });
  ObDereferenceObject(object);
  expect_violation("without a reference", [&] { ObDereferenceObject(object); });
}

TEST(KernelChecker, a_handle_of_another_kind_or_with_fewer_rights_is_refused) {
  Kernel kernel;
  Process program;
  const InProcess inside(program);
  PVOID object = nullptr;
  const auto take = [&](HANDLE handle) {
    return ObReferenceObjectByHandle(handle, EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &object, nullptr);
  };
  EXPECT_EQ(take(program.create_semaphore()), STATUS_OBJECT_TYPE_MISMATCH);
  EXPECT_EQ(take(program.duplicate(program.create_event(), SYNCHRONIZE)), STATUS_ACCESS_DENIED);
  EXPECT_EQ(take(reinterpret_cast<HANDLE>(0x1234)), STATUS_INVALID_HANDLE);
  const HANDLE event = program.create_event();
  EXPECT_EQ(take(event), STATUS_SUCCESS);
  program.close(event);
  EXPECT_EQ(KeSetEvent(static_cast<PKEVENT>(object), 0, FALSE), 0);  // the reference keeps it
  ObDereferenceObject(object);
  EXPECT_EQ(take_violations(), "");
}

TEST(KernelChecker, a_rundown_waits_for_those_inside_and_lets_nobody_in_after) {
  Kernel kernel;
  EX_RUNDOWN_REF rundown;
  ExInitializeRundownProtection(&rundown);
  ASSERT_TRUE(ExAcquireRundownProtection(&rundown));
  std::thread waiter([&] { ExWaitForRundownProtectionRelease(&rundown); });
  while (ExAcquireRundownProtection(&rundown)) {
    ExReleaseRundownProtection(&rundown);
    std::this_thread::yield();
  }
  ExReleaseRundownProtection(&rundown);
  waiter.join();
  EXPECT_FALSE(ExAcquireRundownProtection(&rundown));
  expect_violation("without ExAcquireRundownProtection", [&] { ExReleaseRundownProtection(&rundown); });
}

TEST(KernelFaults, each_fallible_call_fails_once_a_stack) {
  Kernel kernel;
  int allocations = 0, failed = 0;
  const std::size_t faults = with_every_fault([&] {
    for (int i = 0; i < 3; ++i) {  // one stack
      PVOID memory = pool(8);
      ++allocations;
      if (memory == nullptr) {
        ++failed;
      } else {
        ExFreePoolWithTag(memory, kTag);
      }
    }
    PVOID memory = pool(8);  // another
    if (memory == nullptr) {
      ++failed;
    } else {
      ExFreePoolWithTag(memory, kTag);
    }
  });
  EXPECT_EQ(faults, 2u);
  EXPECT_EQ(failed, 2);
  EXPECT_EQ(allocations, 9);  // three runs, the last without a fault
}

TEST(KernelFaults, a_named_call_fails_at_its_turn) {
  Kernel kernel;
  fail_call("ExAllocatePoolWithTag", 2);
  PVOID memory = pool(8);
  EXPECT_NE(memory, nullptr);
  EXPECT_EQ(pool(8), nullptr);
  EXPECT_TRUE(no_failure_left());
  ExFreePoolWithTag(memory, kTag);
  fail_call("IoAllocateMdl");
  EXPECT_FALSE(no_failure_left());
}

}  // namespace
}  // namespace wintun::kernel
