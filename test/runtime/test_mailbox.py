import threading

from depth_estimation_ros.runtime.mailbox import Mailbox


def test_a_new_item_displaces_the_unread_one():
    mailbox = Mailbox()
    assert [mailbox.put("first"), mailbox.put("second"), mailbox.put("third")] == [None, "first", "second"]
    assert next(iter(mailbox)) == "third"


def test_closing_ends_the_reader_and_returns_the_unread_item():
    mailbox = Mailbox()
    mailbox.put("unread")
    assert mailbox.close() == "unread"
    assert list(mailbox) == []
    assert mailbox.close() is None


def test_a_closed_mailbox_takes_nothing():
    mailbox = Mailbox()
    mailbox.close()
    assert mailbox.put("late") == "late"


def test_a_waiting_reader_wakes_for_an_item_and_for_the_end():
    mailbox, read = Mailbox(), []
    got_one = threading.Event()

    def reader():
        for item in mailbox:
            read.append(item)
            got_one.set()

    thread = threading.Thread(target=reader, daemon=True)
    thread.start()
    mailbox.put("item")
    assert got_one.wait(10)
    mailbox.close()
    thread.join(10)
    assert not thread.is_alive()
    assert read == ["item"]


def test_every_item_put_in_comes_out_exactly_once_and_in_order():
    mailbox, read, displaced = Mailbox(), [], []
    thread = threading.Thread(target=lambda: read.extend(mailbox), daemon=True)
    thread.start()
    for number in range(20_000):
        if (item := mailbox.put(number)) is not None:
            displaced.append(item)
    if (item := mailbox.close()) is not None:
        displaced.append(item)
    thread.join(10)
    assert read == sorted(read)
    assert sorted(read + displaced) == list(range(20_000))
