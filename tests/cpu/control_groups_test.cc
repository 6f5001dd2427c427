// Limits of control groups, read from folders as systems have them.
#include "runtime/cpu/control_groups.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "heed/cpu.h"
#include "runtime/cpu/cpu.h"

namespace heed {
namespace {

using detail::GroupLimits;

constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

/// A folder that stands for the root of a file system.
class Root : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "heed_groups_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void groups(const std::string& text) const { write("/proc/self/cgroup", text); }
  void mounts(const std::string& text) const {
    write("/proc/self/mountinfo",
          "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
          "23 22 0:21 / /proc rw,relatime - proc proc rw\n" +
              text);
  }
  void version_2(const std::string& group) const {
    groups("0::" + group + "\n");
    mounts("30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void version_1(const std::string& group) const {
    groups("5:pids:" + group + "\n4:memory:" + group + "\n3:cpu,cpuacct:" + group +
           "\n1:name=systemd:" + group + "\n0::" + group + "\n");
    mounts(
        "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 30 0:28 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
        "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }

  void expect(double cpus, std::int64_t memory_bytes) const {
    const GroupLimits limits = detail::read_group_limits(root_);
    EXPECT_DOUBLE_EQ(limits.cpus, cpus);
    EXPECT_EQ(limits.memory_bytes, memory_bytes);
  }

  std::string root_;
};

TEST_F(Root, WithoutAnything) { expect(0, 0); }

TEST_F(Root, Version2) {
  version_2("/");
  expect(0, 0);
  write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  write("/sys/fs/cgroup/memory.max", "1073741824\n");
  expect(0.5, 1024 * kMebibyte);
  write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/memory.max", "max\n");
  expect(0, 0);
}

TEST_F(Root, Version2TakesTheTightestOnTheWayUp) {
  version_2("/a.slice/b c/d.scope");
  write("/sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n");
  write("/sys/fs/cgroup/a.slice/b c/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/a.slice/b c/d.scope/cpu.max", "400000 100000\n");
  write("/sys/fs/cgroup/a.slice/memory.max", "max\n");
  write("/sys/fs/cgroup/a.slice/b c/memory.max", "104857600\n");
  write("/sys/fs/cgroup/a.slice/b c/d.scope/memory.max", "209715200\n");
  write("/sys/fs/cgroup/other/memory.max", "1048576\n");
  expect(1.5, 100 * kMebibyte);
}

TEST_F(Root, Version1) {
  version_1("/docker/1");
  write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  expect(0, 0);
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "25000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "50000\n");
  write("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "1073741824\n");
  expect(0.5, 1024 * kMebibyte);
  write("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "536870912\n");
  expect(0.5, 512 * kMebibyte);
}

// In a container the mount shows the container's group as its root, while /proc may tell the path
// that the host knows.
TEST_F(Root, ThatIsAContainers) {
  groups("4:memory:/docker/1/inner\n3:cpu:/docker/1\n");
  mounts(
      "31 30 0:27 /docker/1 /sys/fs/cgroup/cpu ro master:9 - cgroup cgroup rw,cpu\n"
      "32 30 0:28 /docker/1 /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "104857600\n");
  expect(2, 100 * kMebibyte);
}

TEST_F(Root, WhoseMountDoesNotHoldTheGroup) {
  groups("0::/../../elsewhere\n");
  mounts("30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  expect(1, 0);
  groups("0::/docker/10\n");
  mounts("30 22 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  expect(1, 0);
}

TEST_F(Root, WithBlanksInItsMountPoint) {
  groups("0::/\n");
  mounts("30 22 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("/mnt/my groups/memory.max", "104857600\n");
  expect(0, 100 * kMebibyte);
}

TEST_F(Root, WithNonsense) {
  version_2("/a");
  for (const char* const text : {"", "\n", "x", "-5 100000", "100000", "100000 ", "1 0", "0 1",
                                 "99999999999999999999 1", "1e5 1e5"}) {
    write("/sys/fs/cgroup/a/cpu.max", text);
    write("/sys/fs/cgroup/a/memory.max", "-1\n");
    expect(0, 0);
  }
  groups("0::a");  // no path
  expect(0, 0);
  groups(std::string(10000, ':'));
  write("/proc/self/mountinfo", "30 22 0:26 /\n - cgroup2\n - cgroup2 x y\n\\04 \\9 \\ - - - \\0");
  expect(0, 0);
}

TEST(DefaultWorkers, AreTheQuotaRoundedUp) {
  EXPECT_EQ(detail::workers_for(8, 0), 8);
  EXPECT_EQ(detail::workers_for(8, 0.01), 1);
  EXPECT_EQ(detail::workers_for(8, 0.5), 1);
  EXPECT_EQ(detail::workers_for(8, 1), 1);
  EXPECT_EQ(detail::workers_for(8, 1.5), 2);
  EXPECT_EQ(detail::workers_for(8, 7.01), 8);
  EXPECT_EQ(detail::workers_for(8, 64), 8);
  EXPECT_EQ(detail::workers_for(8, 1e300), 8);
  EXPECT_EQ(detail::workers_for(0, 0), 1);
}

TEST(DefaultWorkers, AreThoseOfThisProcess) {
  const CpuInfo& cpu = cpu_info();
  const GroupLimits limits = detail::read_group_limits("");
  EXPECT_EQ(cpu.cpu_quota, limits.cpus);
  EXPECT_EQ(cpu.default_workers, detail::workers_for(cpu.logical_cpus, limits.cpus));
  EXPECT_GT(cpu.memory_bytes, 0);
  if (limits.memory_bytes > 0) {
    EXPECT_LE(cpu.memory_bytes, limits.memory_bytes);
  }
}

}  // namespace
}  // namespace heed
