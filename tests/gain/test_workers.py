"""Processes of the harness stop with it."""

import os
import signal
import threading
import time

import pytest
import torch

from mmpose_kd.gain import workers


@pytest.mark.parametrize('number', workers.SIGNALS)
def test_no_signal_leaves_processes_behind(tmp_path, monkeypatch, number):
    (tmp_path / 'stubborn.py').write_text(
        'import pathlib, signal, sys, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'pathlib.Path(sys.argv[1]).touch()\n'
        'time.sleep(300)\n'
    )
    monkeypatch.setattr(workers, 'GRACE', 1.0)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    before = {n: signal.signal(n, lambda *_: None) for n in workers.SIGNALS}
    mine = {n: signal.getsignal(n) for n in workers.SIGNALS}
    again = [threading.Timer(0.4, os.kill, (os.getpid(), n)) for n in workers.SIGNALS]
    try:
        with pytest.raises(KeyboardInterrupt), workers.Children() as children:
            ready = tmp_path / 'ready'
            child = children.start('stubborn', str(ready), jobs=1, log=tmp_path / 'log.txt')
            deadline = time.monotonic() + 60
            while not ready.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            for timer in again:
                timer.start()
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            pytest.fail('the signal did not interrupt')
        for timer in again:
            timer.join()
        assert child.poll() == -signal.SIGKILL
        assert {n: signal.getsignal(n) for n in workers.SIGNALS} == mine
    finally:
        child.kill()
        for n, handler in before.items():
            signal.signal(n, handler)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with workers.Children():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ('visible', 'count', 'given'),
    [
        (None, 0, [None] * 3),  # no GPU: what is set is left alone
        (None, 1, [None] * 3),
        (None, 2, ['0', '1', '0']),
        ('3,5', 2, ['3', '5', '3']),
        ('GPU-a, GPU-b', 2, ['GPU-a', 'GPU-b', 'GPU-a']),
    ],
)
def test_several_gpus_are_dealt_out_in_turn(monkeypatch, visible, count, given):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)  # there is none to count
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    found = [workers.environment(3, slot).get('CUDA_VISIBLE_DEVICES') for slot in range(3)]
    assert found == given


@pytest.mark.parametrize(
    ('asked', 'threads'), [('', '4'), ('1', '1'), ('64', '4'), ('two', '4'), ('0', '4')]
)
def test_no_process_takes_more_threads_than_asked_for(monkeypatch, asked, threads):
    monkeypatch.setattr(workers, 'cores', lambda: 8)
    monkeypatch.setenv('OMP_NUM_THREADS', asked)
    assert workers.environment(2)['OMP_NUM_THREADS'] == threads
