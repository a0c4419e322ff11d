"""The command ``mmpose-kd``: data to try things with, export of a student, the demo."""

from __future__ import annotations

import argparse
import sys
import warnings

from .version import __version__


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return the exit code.

    0 is success, 1 an error that the user can mend (told in one line), 130 an interruption;
    argparse leaves with 2 when the command line itself is wrong.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except KeyboardInterrupt:
        _complain('interrupted')
        return 130
    # What wrong input raises. Anything else is a defect of ours and keeps its traceback.
    except (
        ValueError,
        FileNotFoundError,
        FileExistsError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
    ) as error:
        _complain(f'error: {error}')
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='mmpose-kd', description='Knowledge distillation for MMPose.'
    )
    parser.add_argument('--version', action='version', version=f'mmpose-kd {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)

    make_data = commands.add_parser(
        'make-data',
        help='draw a data set of people with COCO keypoints',
        description='Draw pictures of people and write them with COCO keypoint annotations; '
        'the same numbers and seed give the same files.',
    )
    make_data.add_argument('out', metavar='OUT', help='folder to write')
    make_data.add_argument(
        '--train', type=_positive, default=400, metavar='N', help='training pictures (400)'
    )
    make_data.add_argument(
        '--val', type=_positive, default=100, metavar='M', help='validation pictures (100)'
    )
    make_data.add_argument(
        '--seed', type=_not_negative, default=0, metavar='S', help='random seed (0)'
    )
    make_data.set_defaults(run=_make_data)

    export = commands.add_parser(
        'export',
        help='turn a trained model into a plain MMPose model',
        description='Write student.pth and student.py, which MMPose loads without mmpose_kd '
        '(unless the student itself has a head of it). '
        'The student is checked against the branch it comes from before anything is written.',
    )
    export.add_argument('config', metavar='CONFIG', help='config the model was trained with')
    export.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that training')
    export.add_argument('out', metavar='OUT', help='folder to write')
    export.add_argument(
        '--branch',
        type=_branch,
        metavar='BRANCH',
        help="number of the branch to keep, counted from 0, or 'best': the one with the best "
        'validation record; without it, the branch that the config deploys',
    )
    export.set_defaults(run=_export)

    demo = commands.add_parser(
        'demo',
        help='draw data, train, evaluate, export and show OKDHP in a few minutes',
        description='Draw data, train a small model with OKDHP, evaluate every branch, export '
        'the student and leave pictures to look at.',
    )
    demo.add_argument('--out', default='demo_out', metavar='DIR', help='folder to write')
    demo.set_defaults(run=_demo)
    return parser


# Each command imports what it needs itself, so that one does not pay for the others.


def _make_data(args: argparse.Namespace) -> None:
    from .data import draw_dataset

    draw_dataset(args.out, args.train, args.val, args.seed)


def _export(args: argparse.Namespace) -> None:
    from .export import StudentWarning, export_student

    with warnings.catch_warnings():
        warnings.simplefilter('always', StudentWarning)
        show = warnings.showwarning

        def note(message, category, *where, **options):
            if issubclass(category, StudentWarning):
                _complain(f'note: {message}')
            else:
                show(message, category, *where, **options)

        warnings.showwarning = note
        paths = export_student(args.config, args.checkpoint, args.out, branch=args.branch)
    for path in paths:
        sys.stdout.write(f'{path}\n')


def _demo(args: argparse.Namespace) -> None:
    from . import demo

    demo.run(args.out)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number from 0 up')
    return int(text)


def _branch(text: str) -> int | str:
    if text == 'best':
        return text
    if text == 'ensemble':
        raise argparse.ArgumentTypeError(
            'the ensemble needs all branches and the FAU, so no plain model equals it; '
            "give a branch number, or 'best'"
        )
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a branch number (0, 1, ...) nor 'best'"
        )
    return int(text)


def _complain(message: str) -> None:
    # One line, whatever the error's own text looks like.
    sys.stderr.write(f'mmpose-kd: {" ".join(message.split())}\n')


if __name__ == '__main__':
    sys.exit(main())
