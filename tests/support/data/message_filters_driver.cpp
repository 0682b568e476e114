// Runs the real message_filters ApproximateTime (ROS 1, Debian libmessage-filters-dev) over cases on standard input and
// prints the pairs that it makes. It needs no ROS master. Written for this project; the library is BSD-licensed.
//
//   apt-get install libmessage-filters-dev g++
//   g++ message_filters_driver.cpp -o driver -lmessage_filters -lroscpp -lrostime -lrosconsole \
//       -lroscpp_serialization -lboost_thread -lboost_system
//   python -m tests.support.approximate_time ./driver    (writes approximate_time.json beside this file)
//
// Without -O: built with -O1 by gcc 12 it made no pairs at all (with sanitizers, or without -O, it does).
//
// A case is one line: queue size, age penalty, maximal interval in ns (0: none), lower bounds in ns of streams 0 and 1
// (0: none), number of messages, then stream and stamp in ns of each. The answer is one line: number of pairs, then the
// stamps of streams 0 and 1 and the number of messages that had been put in when the pair came out.
#include <message_filters/sync_policies/approximate_time.h>
#include <message_filters/synchronizer.h>

#include <boost/bind/bind.hpp>
#include <boost/make_shared.hpp>
#include <cstdint>
#include <iostream>
#include <vector>

struct Header { ros::Time stamp; };
struct Message { Header header; };

namespace ros { namespace message_traits {
template <> struct TimeStamp<Message> {
  static ros::Time value(const Message& m) { return m.header.stamp; }
  static ros::Time* pointer(Message& m) { return &m.header.stamp; }
};
}}

using Policy = message_filters::sync_policies::ApproximateTime<Message, Message>;
using Pointer = boost::shared_ptr<Message const>;

struct Run {
  std::vector<int64_t> out;
  int64_t fed = 0;
  void made(const Pointer& a, const Pointer& b) {
    out.push_back(int64_t(a->header.stamp.toNSec()));
    out.push_back(int64_t(b->header.stamp.toNSec()));
    out.push_back(fed);
  }
};

int main() {
  ros::Time::init();
  int queue;
  double penalty;
  int64_t longest, bound0, bound1, count;
  while (std::cin >> queue >> penalty >> longest >> bound0 >> bound1 >> count) {
    message_filters::Synchronizer<Policy> sync{Policy(queue)};
    sync.setAgePenalty(penalty);
    if (longest) sync.setMaxIntervalDuration(ros::Duration().fromNSec(longest));
    if (bound0) sync.setInterMessageLowerBound(0, ros::Duration().fromNSec(bound0));
    if (bound1) sync.setInterMessageLowerBound(1, ros::Duration().fromNSec(bound1));
    Run run;
    sync.registerCallback(boost::bind(&Run::made, &run, boost::placeholders::_1, boost::placeholders::_2));
    for (int64_t i = 0; i < count; ++i) {
      int stream;
      uint64_t stamp;
      std::cin >> stream >> stamp;
      auto message = boost::make_shared<Message>();
      message->header.stamp.fromNSec(stamp);
      ++run.fed;
      if (stream == 0) sync.add<0>(ros::MessageEvent<Message const>(message));
      else sync.add<1>(ros::MessageEvent<Message const>(message));
    }
    std::cout << run.out.size() / 3;
    for (auto value : run.out) std::cout << ' ' << value;
    std::cout << '\n';
  }
}
